/** Load, faults and the last look: one session on a database and processes of its own, all gone at the end. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { uuidv7 } from "../../../lib/ids.ts";
import { testServer } from "../../support/database.ts";
import { type Carrying, carryOut } from "./carry-out.ts";
import { injectFaults, type World } from "./faults.ts";
import { type Fleet, startFleet } from "./fleet.ts";
import { type Findings, inspect } from "./inspect.ts";
import { Journal } from "./journal.ts";
import { startOtherSide } from "./other-side.ts";
import { planOf } from "./plan.ts";
import { Random } from "./random.ts";
import type { Recovery } from "./recovery.ts";
import { StubbornClient } from "./stubborn-client.ts";

export interface ChaosOptions {
  readonly seed: string;
  /** Plans that are begun at least; each makes one run or more. */
  readonly runs: number;
  /** For how long plans are begun at least; and until each kind of fault has happened once. */
  readonly minutes: number;
  /** Kinds of fault to restrict it to; all of them if empty. */
  readonly only: readonly string[];
  /** Keeps what the processes wrote there. */
  readonly logs?: string;
  readonly say: (text: string) => void;
}

export interface Outcome {
  readonly journal: Journal;
  readonly findings: Findings;
  readonly recoveries: readonly Recovery[];
  readonly faults: ReadonlyMap<string, number>;
  /** What processes did that none may do. */
  readonly misdeeds: readonly string[];
  /** What they logged as errors, and how often. */
  readonly errors: ReadonlyMap<string, number>;
  readonly leaseMs: number;
  readonly seconds: number;
}

const LEASE_SECONDS = 3;
/** Clients at a time; each goes through its plans one after the other. */
const LANES = 12;
/** Plans that share a thread. */
const PLANS_A_THREAD = 4;
const THINK_MS = 400;
/** For what is under way when the faults are over. */
const QUIET_MS = 180_000;

export async function chaos(options: ChaosOptions): Promise<Outcome> {
  const { seed, say } = options;
  const random = new Random(seed);
  await using cleanup = new AsyncDisposableStack();
  using _ = disposedOnSignal(cleanup);
  const folder = options.logs ?? (await mkdtemp(join(tmpdir(), "pawl-chaos-")));
  await mkdir(folder, { recursive: true });
  if (options.logs === undefined) cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const postgres = cleanup.use(await testServer());
  const db = new pg.Pool({ ...postgres.connection, max: 3, application_name: "chaos" });
  db.on("error", () => {}); // restarts
  cleanup.defer(() => db.end());
  const otherSide = cleanup.use(await startOtherSide(random.fork("other side")));
  const { connection } = postgres;
  const fleet = cleanup.use(
    await startFleet({ folder, connection, leaseSeconds: LEASE_SECONDS, random: random.fork("fleet") }),
  );

  const begin = performance.now();
  const seconds = () => (performance.now() - begin) / 1_000;
  const journal = new Journal();
  const giveUp = new AbortController();
  const http = new StubbornClient(fleet.url, giveUp.signal);
  const starts: Promise<void>[] = [];
  const recoveries: Recovery[] = [];
  const world: World = {
    fleet,
    postgres,
    db,
    random: random.fork("faults"),
    leaseMs: LEASE_SECONDS * 1_000,
    only: options.only,
    recoveries,
    crashes: journal.crashes,
    say: (what) => say(`${seconds().toFixed(1)} s, ${journal.finished} plans  ${what}`),
    meanwhile: (work) => void starts.push(work),
  };

  const over = new AbortController();
  let isRoundDone = false;
  const faults = injectFaults(world, over.signal, () => (isRoundDone = true));
  faults.catch(() => (isRoundDone = true)); // reported below
  const load = carryOutPlans(
    { http, journal, otherSide },
    { random, isEnough: (begun) => begun >= options.runs && seconds() >= options.minutes * 60 && isRoundDone },
  );
  await load.begun;
  over.abort();
  const count = await faults;
  await Promise.all(starts);
  world.say("no more faults");
  const timer = setTimeout(() => giveUp.abort(new Error("The time is up")), QUIET_MS);
  await load.finished;
  clearTimeout(timer);
  await quiet(db);
  const graphs = load.graphOf;
  const findings = await inspect({
    db,
    http: new StubbornClient(fleet.url, AbortSignal.timeout(QUIET_MS)),
    journal,
    otherSide,
    graphOf: (plan) => graphs(plan),
  });
  return {
    journal,
    findings,
    recoveries,
    faults: count,
    ...told(fleet),
    leaseMs: world.leaseMs,
    seconds: seconds(),
  };
}

/** Whoever ends this process before the end leaves no process behind. */
function disposedOnSignal(cleanup: AsyncDisposableStack): Disposable {
  const events = ["SIGINT", "SIGTERM", "disconnect"] as const;
  const end = (): void => void cleanup.disposeAsync().finally(() => process.exit(143));
  for (const event of events) process.once(event, end);
  return {
    [Symbol.dispose]() {
      for (const event of events) process.off(event, end);
    },
  };
}

interface LoadOptions {
  readonly random: Random;
  readonly isEnough: (begun: number) => boolean;
}

function carryOutPlans(carrying: Carrying, { random, isEnough }: LoadOptions) {
  let begun = 0;
  const allBegun = Promise.withResolvers<void>();
  async function lane(): Promise<void> {
    for (let done = 0, threadId = uuidv7(); !isEnough(begun); done += 1) {
      if (done % PLANS_A_THREAD === 0) threadId = uuidv7();
      const plan = planOf(random, begun++);
      await carryOut(carrying, plan, threadId).catch((error: unknown) => {
        if (carrying.http.isTimeUp) carrying.journal.givenUp.push(plan.name);
        else carrying.journal.oddities.push(`${plan.name}: ${String(error)}`);
      });
      carrying.journal.finished += 1;
      await delay(random.fork(`think ${plan.name}`).between(0, THINK_MS));
    }
    allBegun.resolve();
  }
  return {
    begun: allBegun.promise,
    finished: Promise.all(Array.from({ length: LANES }, lane)),
    graphOf: (plan: string) => planOf(random, Number.parseInt(plan.slice(1), 10)).graph,
  };
}

/** What is left may still be taken over: for as long as that can take. */
async function quiet(db: pg.Pool): Promise<void> {
  for (const end = performance.now() + LEASE_SECONDS * 10_000; performance.now() < end;) {
    const { rowCount } = await db.query(
      `select from runs where status in ('pending', 'running')
       union all select from workers where lease_until < now()`,
    );
    if (rowCount === 0) return;
    await delay(200);
  }
}

function told({ members }: Fleet): Pick<Outcome, "misdeeds" | "errors"> {
  const errors = new Map<string, number>();
  for (const [message, times] of members.flatMap((member) => [...member.errors])) {
    errors.set(message, (errors.get(message) ?? 0) + times);
  }
  return { errors, misdeeds: members.flatMap(({ name, misdeeds }) => misdeeds.map((what) => `${name}: ${what}`)) };
}
