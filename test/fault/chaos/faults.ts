/** What goes wrong, each kind with its own end: when a fault's promise resolves, the world is whole again, but for processes that still start. */
import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import { untilReachable } from "../../../db/connection-error.ts";
import type { TestServer } from "../../support/database.ts";
import type { Fleet } from "./fleet.ts";
import type { Member } from "./member.ts";
import type { Random } from "./random.ts";
import { awaitRecovery, type Bereaved, lookAt, type Recovery, type ShownBy, whoWaits } from "./recovery.ts";

export interface World {
  readonly fleet: Fleet;
  readonly postgres: TestServer;
  /** Past all proxies. */
  readonly db: pg.Pool;
  readonly random: Random;
  readonly leaseMs: number;
  /** Kinds to restrict it to; all of them if empty. */
  readonly only: readonly string[];
  /** Collects what was measured. */
  readonly recoveries: Recovery[];
  /** Collects when Postgres crashed (`Date.now()`). */
  readonly crashes: number[];
  /** Tells what happens, for who reads along. */
  say(what: string): void;
  /** Goes on beside the faults; waited for at the end. */
  meanwhile(work: Promise<void>): void;
}

export const FAULTS: Readonly<Record<string, (world: World) => Promise<void>>> = {
  "kill of an executing process": async (world) => {
    await kill(world, await someMember(world, ({ executes }) => executes));
  },

  "kill while an effect is under way": async (world) => {
    await kill(world, await memberWithEffect(world));
  },

  "kill of a listening process": async (world) => {
    const member = await someMember(world, ({ executes }) => !executes);
    await member.end("SIGKILL");
    world.meanwhile(member.start());
  },

  "stop past the lease, and continue": async (world) => {
    const member = await someMember(world, ({ executes }) => executes);
    const bereaved = await lookAt(world.db, member.pid);
    const since = performance.now();
    member.stop();
    await measure(world, bereaved, { since, shownBy: "lease" });
    await delay(Math.max(0, since + world.leaseMs * 1.5 - performance.now()));
    member.continue();
  },

  "stop of a listening process, and continue": async (world) => {
    const member = await someMember(world, ({ listens }) => listens);
    member.stop();
    await delay(world.random.between(200, 2_000));
    member.continue();
  },

  "termination and restart": async (world) => {
    const member = await someMember(world, () => true);
    await member.end("SIGTERM");
    world.meanwhile(member.start());
  },

  "backends terminated": async ({ db, random }) => {
    const [number, draw] = [random.between(1, 6), random.next()];
    const terminate = () =>
      db.query(
        `select pg_terminate_backend(pid)
           from (select pid from pg_stat_activity where application_name like 'pawl %'
                  order by md5(pid::text || $2) limit $1) chosen`,
        [number, String(draw)],
      );
    await untilReachable(terminate, AbortSignal.timeout(AWAY_MS));
  },

  "fast restart of Postgres": async ({ postgres }) => postgres.restart(),

  "immediate restart of Postgres": async ({ postgres, crashes }) => {
    crashes.push(Date.now());
    process.kill(postgres.pid, "SIGQUIT");
    await postgres.restart();
  },

  "database silent for less than the lease": async (world) => {
    const member = await someMember(world, () => true);
    member.database.silence();
    await delay(world.random.between(100, world.leaseMs / 2));
    member.database.thaw();
  },

  "database silent past the lease": async (world) => {
    const member = await someMember(world, ({ executes }) => executes);
    const bereaved = await lookAt(world.db, member.pid);
    const since = performance.now();
    member.database.silence();
    await measure(world, bereaved, { since, shownBy: "lease" });
    await delay(Math.max(0, since + world.leaseMs * 1.5 - performance.now()));
    if (world.random.chance(0.5)) member.database.thaw();
    else member.database.reset();
  },

  "kill while the database is silent": async (world) => {
    const member = await someMember(world, ({ executes }) => executes);
    const bereaved = await lookAt(world.db, member.pid);
    member.database.silence();
    const since = performance.now();
    await member.end("SIGKILL");
    await measure(world, bereaved, { since, shownBy: "lease" });
    member.database.reset();
    world.meanwhile(member.start());
  },

  "clients' network silent": async ({ fleet, random }) => {
    fleet.api.silence();
    await delay(random.between(300, 4_000));
    if (random.chance(0.5)) fleet.api.thaw();
    else fleet.api.reset();
  },

  "clients' sockets dropped": async ({ fleet, random }) => {
    for (let n = random.between(1, 6); n > 0; n -= 1) {
      fleet.api.drop((all) => random.pick(all));
      await delay(random.between(0, 60));
    }
  },
};

async function kill(world: World, member: Member): Promise<void> {
  const bereaved = await lookAt(world.db, member.pid);
  const since = performance.now();
  await member.end("SIGKILL");
  await measure(world, bereaved, { since, shownBy: bereaved.isWatched ? "lock" : "lease" });
  world.meanwhile(member.start());
}

const LOOK_MS = 20;
/** For how long Postgres may be away after a restart. */
const AWAY_MS = 30_000;

/** One of those that are up; waits until there is one. */
async function someMember(world: World, suits: (member: Member) => boolean): Promise<Member> {
  for (;;) {
    const up = world.fleet.members.filter((member) => member.state === "up" && suits(member));
    if (up.length > 0) {
      const member = world.random.pick(up);
      world.say(`  to ${member.name}`);
      return member;
    }
    await delay(LOOK_MS);
  }
}

/** One that has sent what may not be sent again, or does so for the second time since a person said so; after a while any that executes. */
async function memberWithEffect(world: World): Promise<Member> {
  const attempt = world.random.between(1, 2);
  for (const end = performance.now() + world.leaseMs * attempt; performance.now() < end;) {
    const { rows } = await world.db
      .query<{ pid: number }>(
        `select w.pid from effects e join runs r using (run_id) join workers w on w.worker_id = r.worker_id
          where e.state = 'dispatched' and e.kind = 'irreversible' and e.attempt >= $1 and r.status = 'running'`,
        [attempt],
      )
      .catch(() => ({ rows: [] })); // just after a restart
    const member = world.fleet.members.find(({ pid, state }) => state === "up" && rows.some((row) => row.pid === pid));
    if (member) {
      world.say(`  to ${member.name}`);
      return member;
    }
    await delay(LOOK_MS);
  }
  return someMember(world, ({ executes }) => executes);
}

/** Milliseconds beyond the lease after which a reader wants to know what stands in the way of a recovery. */
const TOO_LONG_MS = 2_000;

async function measure(world: World, bereaved: Bereaved, at: { since: number; shownBy: ShownBy }): Promise<void> {
  if (bereaved.runs.length === 0) return;
  const tooLong = setTimeout(() => {
    whoWaits(world.db).then(
      (waiting) => waiting.forEach((each) => world.say(`  ${each}`)),
      (error: unknown) => world.say(`  ${String(error)}`),
    );
  }, world.leaseMs + TOO_LONG_MS);
  const recovered = await awaitRecovery(world.db, bereaved, at);
  clearTimeout(tooLong);
  world.recoveries.push(...recovered);
  world.say(
    `  ${recovered.length} runs went on, shown by the ${at.shownBy}: ${recovered.map(({ ms }) => ms.toFixed(0)).join(", ")} ms`,
  );
}

/** Processes start as slowly as the machine is busy: without this a slow one would soon have none left to take away. */
async function mostAreUp({ fleet }: World): Promise<void> {
  while (fleet.members.filter(({ state }) => state !== "up").length > 1) await delay(LOOK_MS);
}

/** Each kind once, in a random order, with pauses between them; then again, until `signal` is aborted. Counts them. */
export async function injectFaults(
  world: World,
  signal: AbortSignal,
  onRound: () => void,
): Promise<Map<string, number>> {
  const count = new Map<string, number>();
  const names = Object.keys(FAULTS).filter((name) => world.only.length === 0 || world.only.includes(name));
  while (!signal.aborted) {
    for (const name of world.random.shuffled(names)) {
      await delay(world.random.between(100, 1_200), undefined, { signal }).catch(() => {});
      await mostAreUp(world);
      if (signal.aborted) return count;
      world.say(name);
      await FAULTS[name]?.(world);
      count.set(name, (count.get(name) ?? 0) + 1);
    }
    onRound();
  }
  return count;
}
