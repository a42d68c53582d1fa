/** The ledger in Postgres by itself: guarded transitions, one decision, durable commits. */
import { once } from "node:events";
import pg from "pg";
import { expect, test } from "vitest";
import type { Effect } from "../../lib/effect.ts";
import type { EffectOutcome } from "../../lib/effect-ledger.ts";
import { isPawlError } from "../../lib/errors.ts";
import { uuidv7 } from "../../lib/ids.ts";
import { claimRuns } from "../../runs/claim.ts";
import { RunLedger } from "../../runs/effects/ledger.ts";
import { EffectsInPostgres } from "../../runs/effects/rows.ts";
import { oneNode, type RunsHost, runsHost } from "../support/runs.ts";
import { answersOf, rowsOf } from "./effect-rows.ts";

const never = new AbortController().signal;
const host = (): Promise<RunsHost> => runsHost({ graph: oneNode(async () => ({})) });

/** The ledger of a run that is claimed and executes nothing. */
async function claimed(on: RunsHost) {
  const threadId = await on.thread();
  await on.create(threadId);
  const [owner] = await claimRuns(on.db.pool, { workerId: uuidv7(), graphs: [...on.graphs.values()], limit: 1 });
  const ledger = (db: pg.Pool | pg.Client = on.db.pool) =>
    new RunLedger({ encryption: undefined, db, owner: owner!, run: owner!, signal: never, durability: "sync" });
  return { threadId, owner: owner!, ledger, runId: owner!.run_id };
}

const letter = (taskId: string, more: Partial<Effect> = {}) =>
  ({ key: "letter", name: "letter", kind: "irreversible", taskId, ...more }) as const;
const lost = (): Promise<never> => Promise.reject(new Error("socket closed"));
const done = (): Promise<string> => Promise.resolve("receipt");

test("of two tasks that decide about one attempt the first wins", async () => {
  await using on = await host();
  const { threadId, ledger } = await claimed(on);
  await expect(ledger().perform(letter("a"), lost)).rejects.toSatisfy((e) => isPawlError(e, "effect_unknown"));
  const about = (taskId: string) => ({ key: "letter", taskId, attempt: 1, ordinal: 0 });
  await Promise.all([
    ledger().answer(about("a"), { decision: "happened", result: "a" }),
    ledger().answer(about("b"), { decision: "happened", result: "b" }),
  ]);
  const [only, ...more] = await answersOf(on, threadId);
  expect(more).toEqual([]);
  expect(await ledger().perform(letter("c"), lost)).toBe(only!["task_id"]);
});

test("an answer about an earlier attempt does nothing", async () => {
  await using on = await host();
  const { threadId, ledger } = await claimed(on);
  await expect(ledger().perform(letter("a"), lost)).rejects.toThrow("not known");
  await ledger().answer({ key: "letter", taskId: "a", attempt: 0, ordinal: 0 }, { decision: "happened" });
  expect(await rowsOf(on, threadId)).toMatchObject([{ state: "unknown" }]);
  expect(await answersOf(on, threadId)).toEqual([]);
});

test.each([
  ["before the deadline, though it is over now", "+", "too_early"],
  ["after the deadline", "-", null],
])("it did not happen, says a run that was asked for %s", async (_, sign, refusal) => {
  await using on = await host();
  const { threadId, runId, ledger } = await claimed(on);
  await expect(ledger().perform(letter("a"), lost)).rejects.toThrow("not known");
  await on.db.pool.query(
    `update effects set deadline = r.created_at ${sign} interval '1 microsecond' from runs r where r.run_id = $1`,
    [runId],
  );
  await ledger().answer({ key: "letter", taskId: "a", attempt: 1, ordinal: 0 }, { decision: "not_happened" });
  expect(await answersOf(on, threadId)).toMatchObject([{ decision: "not_happened", refusal }]);
  expect(await rowsOf(on, threadId)).toMatchObject([{ state: refusal === null ? "reserved" : "unknown" }]);
});

test("what failed for sure may be tried by another task, and not by its own", async () => {
  await using on = await host();
  const { ledger } = await claimed(on);
  const isFailure = (result: unknown): boolean => result === "refused";
  expect(await ledger().perform(letter("a", { isFailure }), async () => "refused")).toBe("refused");
  expect(await ledger().perform(letter("a", { isFailure }), done)).toBe("refused");
  expect(await ledger().perform(letter("b", { isFailure }), done)).toBe("receipt");
  expect(await ledger().perform(letter("c", { isFailure }), lost)).toBe("receipt");
});

test("what comes late, about an attempt that is over or an effect that is settled, changes nothing", async () => {
  await using on = await host();
  const { threadId, owner } = await claimed(on);
  const rows = new EffectsInPostgres({ encryption: undefined, db: on.db.pool, owner, run: owner, signal: never });
  const effect = letter("a", { kind: "idempotent" });
  const refused = (attempt: number, outcome: EffectOutcome) =>
    expect(rows.settle(effect, attempt, outcome)).rejects.toSatisfy((e) => isPawlError(e, "lease_lost"));
  const reserved = await rows.reserve(effect);
  await rows.dispatch(effect, reserved, 1_000);
  await rows.settle(effect, 1, { state: "failed" });
  await rows.dispatch(effect, await rows.reserve(effect), 1_000);
  await refused(1, { state: "committed", result: "late" });
  expect(await rowsOf(on, threadId)).toMatchObject([{ state: "dispatched", attempt: 2, result: null }]);
  await rows.settle(effect, 2, { state: "committed", result: "receipt" });
  await refused(2, { state: "failed" });
  await refused(2, { state: "unknown" });
  for (const attempt of [0, 2]) {
    const again = rows.dispatch(effect, { ...reserved, attempt }, 1_000);
    await expect(again).rejects.toSatisfy((e) => isPawlError(e, "lease_lost"));
  }
  expect(await rowsOf(on, threadId)).toMatchObject([{ state: "committed", attempt: 2, result: '"receipt"' }]);
});

test("what was sent as irreversible is not sent again by a tool that is declared idempotent meanwhile, nor the other way round", async () => {
  await using on = await host();
  const { ledger } = await claimed(on);
  for (const [key, before, now] of [
    ["first", "irreversible", "idempotent"],
    ["second", "idempotent", "irreversible"],
  ] as const) {
    const dies = new AbortController();
    const sent = ledger().perform({ ...letter("a", { kind: before }), key }, () => {
      dies.abort();
      return new Promise(() => {});
    });
    await Promise.race([sent, once(dies.signal, "abort")]);
    const again = ledger().perform({ ...letter("a", { kind: now }), key }, () => expect.unreachable());
    await expect(again).rejects.toSatisfy((e) => isPawlError(e, "effect_unknown"));
  }
});

test("equal effects at once are one: the others wait for its result", async () => {
  await using on = await host();
  const { ledger } = await claimed(on);
  const one = ledger();
  let sent = 0;
  const send = async (): Promise<number> => ++sent;
  const results = await Promise.all(Array.from({ length: 20 }, (_, n) => one.perform(letter(`${n}`), send)));
  expect(new Set(results)).toEqual(new Set([1]));
});

test("what was not sent since the run was cancelled in time is reserved again, not unknown", async () => {
  await using on = await host();
  const { threadId, owner } = await claimed(on);
  const cancel = new AbortController();
  const cancelling = {
    query: async (query: pg.QueryConfig) => {
      const result = await on.db.pool.query(query);
      if (query.name === "dispatch-effect") cancel.abort(new Error("cancelled"));
      return result;
    },
  } as unknown as pg.Pool;
  const ledger = new RunLedger({
    encryption: undefined,
    db: cancelling,
    owner,
    run: owner,
    signal: cancel.signal,
    durability: "sync",
  });
  await expect(ledger.perform(letter("a"), () => expect.unreachable())).rejects.toThrow("cancelled");
  expect(await rowsOf(on, threadId)).toMatchObject([{ state: "reserved", attempt: 1 }]);
});

test("a result is recorded though the connection breaks under it", async () => {
  await using on = await host();
  const { threadId, ledger } = await claimed(on);
  const victim = new pg.Client(on.db.connection);
  victim.on("error", () => {});
  await victim.connect();
  const { rows } = await victim.query("select pg_backend_pid() as pid");
  const breaking = {
    query: (query: pg.QueryConfig) => (query.name === "settle-effect" && isFirst() ? victim : on.db.pool).query(query),
  } as unknown as pg.Pool;
  let settles = 0;
  const isFirst = (): boolean => ++settles === 1;
  const result = await ledger(breaking).perform(letter("a"), async () => {
    await on.db.pool.query("select pg_terminate_backend($1, 5000)", [rows[0].pid]);
    return "receipt";
  });
  expect([result, settles]).toEqual(["receipt", 2]);
  expect(await rowsOf(on, threadId)).toMatchObject([{ state: "committed", result: '"receipt"' }]);
});

test("the dispatch and the result wait for the disk, where the database does not by itself", async () => {
  await using on = await host();
  const { ledger } = await claimed(on);
  await on.db.pool.query(`
    create table seen (state text, setting text);
    create function see() returns trigger language plpgsql as
      $$ begin insert into seen values (new.state, current_setting('synchronous_commit')); return null; end $$;
    create trigger see after insert or update on effects for each row execute function see()`);
  const client = new pg.Client(on.db.connection);
  await client.connect();
  await client.query("set synchronous_commit = off");
  await ledger(client).perform(letter("a"), done);
  await client.end();
  const { rows } = await on.db.pool.query("select * from seen where state <> 'reserved'");
  expect(rows).toEqual([
    { state: "dispatched", setting: "on" },
    { state: "committed", setting: "on" },
  ]);
});

/** What processes of the release before run, which may stand beside this one for the length of a deployment. */
const olderDispatch = `
  with fence as materialized (select 1 from thread_owner where thread_id = $1 and epoch = $2 for share),
       mine as (
         insert into effects as e (thread_id, key, tenant, run_id, epoch, name)
         select $1, $3, 'default', $4, $2, 'letter' from fence
         on conflict (thread_id, key) do update
            set state = 'dispatched', run_id = excluded.run_id, epoch = excluded.epoch,
                dispatched_at = now(), settled_at = null, result = null
          where $5 = 'idempotent' and e.state <> 'committed'
         returning state, result)
  select state, result, true as mine from mine
  union all
  select e.state, e.result, false from effects e, fence
   where e.thread_id = $1 and e.key = $3 and not exists (select from mine)`;

test.each([
  ["is under way or unknown", "irreversible", lost, { state: "unknown", mine: false }],
  ["is done", "irreversible", done, { state: "committed", mine: false }],
  ["may be repeated", "idempotent", lost, { state: "dispatched", mine: true }],
] as const)("a process of the release before finds what %s", async (...row) => {
  const [, kind, fn, expected] = row;
  await using on = await host();
  const { threadId, owner, ledger, runId } = await claimed(on);
  await ledger()
    .perform(letter("a", { kind }), fn)
    .catch(() => undefined);
  const { rows } = await on.db.pool.query(olderDispatch, [threadId, owner.epoch, "letter", runId, kind]);
  expect(rows).toMatchObject([expected]);
});

test("what a process of the release before has sent is not sent again", async () => {
  await using on = await host();
  const { threadId, owner, ledger, runId } = await claimed(on);
  await on.db.pool.query(olderDispatch, [threadId, owner.epoch, "letter", runId, "irreversible"]);
  await expect(ledger().perform(letter("a"), () => expect.unreachable())).rejects.toThrow("not known");
  expect(await rowsOf(on, threadId)).toMatchObject([{ state: "unknown", attempt: 1 }]);
});
