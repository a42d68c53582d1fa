import { createHash } from "node:crypto";
import type { Pool, PoolClient, QueryConfig } from "pg";
import { expect, test } from "vitest";
import { isPawlError } from "../../lib/errors.ts";
import { RunId, ThreadId, uuidv7 } from "../../lib/ids.ts";
import { localPrincipal } from "../../lib/principal.ts";
import { Answering } from "../../runs/answering.ts";
import { Hub } from "../../runs/events/hub.ts";
import { expire } from "../../runs/retention.ts";
import { RunsInPostgres } from "../../runs/runs.ts";
import { oneNode, runsHost } from "../support/runs.ts";

const graph = oneNode(async () => ({ log: ["done"] }));
const body = { assistant_id: "graph", input: {} };
const digest = createHash("sha256").update("a body").digest();

test("a POST that is sent again after its client was lost returns the first run, and one whose answer arrived makes a second", async () => {
  await using host = await runsHost({ graph });
  const threadId = await host.thread();
  const post = () => host.runs.create(localPrincipal, body, { threadId, digest });
  const first = await post();
  await host.runs.answered(first.run_id, false);
  const again = await post();
  expect(again.run_id).toBe(first.run_id);
  await host.runs.answered(again.run_id, true);
  expect((await post()).run_id).not.toBe(first.run_id);
});

test("a POST that is sent again to another process, after the first one died while answering, returns the first run", async () => {
  await using host = await runsHost({ graph });
  const threadId = await host.thread();
  const first = await host.runs.create(localPrincipal, body, { threadId, digest });
  await host.db.pool.query("update runs set created_at = now() - interval '1 second'"); // the stock client waits that long
  const other = await host.elsewhere();
  expect((await other.create(localPrincipal, body, { threadId, digest })).run_id).toBe(first.run_id);
});

test("a stateless POST that is sent again after its client was lost returns the first run, also one that is to be kept", async () => {
  await using host = await runsHost({ graph });
  for (const on_completion of ["delete", "keep"] as const) {
    const of = createHash("sha256").update(on_completion).digest();
    const post = () => host.runs.create(localPrincipal, { ...body, on_completion }, { digest: of });
    const first = await post();
    await host.runs.answered(first.run_id, false);
    expect((await post()).run_id).toBe(first.run_id);
  }
});

test("two clients that send the same at the same time get a run each", async () => {
  await using host = await runsHost({ graph });
  const threadId = await host.thread();
  const post = () => host.runs.create(localPrincipal, body, { threadId, digest });
  const [one, two] = await Promise.all([post(), post()]);
  expect(one.run_id).not.toBe(two.run_id);
});

test("an equal POST long after the first is a new one", async () => {
  await using host = await runsHost({ graph });
  const threadId = await host.thread();
  const first = await host.runs.create(localPrincipal, body, { threadId, digest });
  await host.runs.answered(first.run_id, false);
  await host.db.pool.query("update runs set created_at = now() - interval '31 seconds'");
  expect((await host.runs.create(localPrincipal, body, { threadId, digest })).run_id).not.toBe(first.run_id);
});

test("an idempotency key makes one run of many equal requests, also for stateless ones, until it expires", async () => {
  await using host = await runsHost({ graph });
  const threadId = await host.thread();
  for (const options of [{ threadId, idempotencyKey: "k1" }, { idempotencyKey: "k2" }]) {
    const results = await Promise.allSettled(
      Array.from({ length: 6 }, () => host.runs.create(localPrincipal, body, options)),
    );
    const ids = results.map((result) => (result.status === "fulfilled" ? result.value.run_id : result.reason));
    expect(new Set(ids).size, String(ids)).toBe(1);
  }
  await host.db.pool.query(
    "update runs set created_at = now() - interval '25 hours', status = 'success', ready = false, ended_at = now()",
  );
  await expire(host.db.pool, 120);
  const { rows } = await host.db.pool.query("select from runs where idempotency_key is not null");
  expect(rows).toEqual([]);
});

test("a key or a client's own run id stays spent when its run is rolled back, deleted, or was stateless and is over, until it expires", async () => {
  await using host = await runsHost({ graph });
  const { pool } = host.db;
  const threadId = await host.thread();
  for (const name of ["key", "run_id"] as const) {
    const names = Array.from({ length: 4 }, () => uuidv7());
    const post = (nth: number, options: { threadId?: ThreadId } = {}) =>
      name === "key"
        ? host.runs.create(localPrincipal, body, { ...options, idempotencyKey: names[nth]! })
        : host.runs.create(localPrincipal, { ...body, run_id: RunId.parse(names[nth]) }, options);
    const refused = (run: { run_id: string }) => (error: unknown) =>
      isPawlError(error, "already_exists") && error.facts["run_id"] === run.run_id;
    const rolledBack = await post(0, { threadId });
    await host.runs.cancel(localPrincipal, { runId: rolledBack.run_id }, { action: "rollback" });
    await expect(post(0, { threadId })).rejects.toSatisfy(refused(rolledBack));
    const elsewhere = await host.thread();
    const withThread = await post(1, { threadId: elsewhere });
    await pool.query("delete from threads where thread_id = $1", [elsewhere]);
    await expect(post(1, { threadId: elsewhere })).rejects.toSatisfy(refused(withThread));
    const stateless = await post(2);
    const worker = await host.startWorker();
    await expect.poll(async () => (await pool.query("select from runs")).rowCount, { timeout: 10_000 }).toBe(0);
    await worker.close(0);
    await expect(post(2)).rejects.toSatisfy(refused(stateless));
    expect((await post(3, { threadId })).status).toBe("pending");
    await pool.query("delete from runs");
    await pool.query("update spent_keys set created_at = now() - interval '25 hours'");
    await expire(pool, 120);
    expect((await post(0, { threadId })).status).toBe("pending");
    await pool.query("delete from runs");
  }
});

test("a POST that is sent again while its run is rolled back finds it or is refused, and makes no other", async () => {
  await using host = await runsHost({ graph });
  for (const threadId of [await host.thread(), undefined]) {
    for (let round = 0; round < 20; round += 1) {
      const run_id = RunId.parse(uuidv7());
      const post = () => host.runs.create(localPrincipal, { ...body, run_id }, { ...(threadId && { threadId }) });
      await post();
      const [again] = await Promise.allSettled([
        post(),
        host.runs.cancel(localPrincipal, { runId: run_id }, { action: "rollback" }),
      ]);
      if (again.status === "rejected")
        expect(again.reason).toMatchObject({ code: "already_exists", facts: { run_id } });
      expect((await host.db.pool.query("select from runs")).rowCount).toBe(0);
    }
  }
});

test("a stateless POST whose process was held up before it made the run does not make it after another one's has come and gone", async () => {
  await using host = await runsHost({ graph });
  const { pool } = host.db;
  await host.startWorker();
  const [reached, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const slow = heldUp(pool, "insert-run-and-thread", async () => {
    reached.resolve();
    await gate.promise;
  });
  const signals = { send() {}, on: () => () => {}, close: async () => {} };
  const { graphs } = host;
  const wakeNobody = { hub: new Hub(), signals, answering: new Answering(), onWork() {} };
  const stopped = new RunsInPostgres({ ...wakeNobody, pool: slow, graphs });
  const run_id = RunId.parse(uuidv7());
  const first = stopped.create(localPrincipal, { ...body, run_id }, {});
  await reached.promise;
  let isAnswered = false;
  const second = host.runs.create(localPrincipal, { ...body, run_id }, {}).finally(() => (isAnswered = true));
  const isWaiting = async () =>
    (await pool.query("select from pg_locks where locktype = 'advisory' and not granted")).rowCount === 1;
  await expect.poll(async () => isAnswered || (await isWaiting()), { timeout: 10_000 }).toBe(true);
  const isOver = async () => (await pool.query("select from runs")).rowCount === 0;
  if (isAnswered) await expect.poll(isOver, { timeout: 10_000 }).toBe(true);
  gate.resolve();
  await Promise.allSettled([first, second]);
  await expect.poll(isOver, { timeout: 10_000 }).toBe(true);
  expect((await pool.query("select from thread_events where outcome is not null")).rowCount).toBe(1);
});

/** A pool whose clients wait before they send the statement of that name, and what comes after it. */
function heldUp(pool: Pool, name: string, wait: () => Promise<void>): Pool {
  const clientOf = (client: PoolClient): PoolClient => {
    let held: Promise<void> | undefined;
    const query = async (statement: QueryConfig) => {
      if (statement.name === name) held = wait();
      if (held) await held;
      return client.query(statement);
    };
    return Object.create(client, { query: { value: query } }) as PoolClient;
  };
  return Object.create(pool, { connect: { value: async () => clientOf(await pool.connect()) } }) as Pool;
}

test("a client's own run id creates one run, and cannot be used for another thread", async () => {
  await using host = await runsHost({ graph });
  const threadId = await host.thread();
  const run_id = RunId.parse(uuidv7());
  const first = await host.create(threadId, { run_id });
  expect(first.run_id).toBe(run_id);
  expect((await host.create(threadId, { run_id })).run_id).toBe(run_id);
  const other = await host.thread();
  await expect(host.create(other, { run_id })).rejects.toSatisfy((e) => isPawlError(e, "already_exists"));
});

test("a claim that passed over a run, because its row was locked while the answer was noted, is made up for", async () => {
  await using host = await runsHost({ graph });
  const threadId = await host.thread();
  const signals = { send() {}, on: () => () => {}, close: async () => {} };
  let looks = 0;
  const runs = new RunsInPostgres({
    pool: host.db.pool,
    graphs: host.graphs,
    hub: new Hub(),
    signals,
    answering: new Answering(),
    onWork: () => (looks += 1),
  });
  const run = await runs.create(localPrincipal, body, { threadId });
  expect(looks).toBe(1);
  await runs.answered(run.run_id, true); // the run is still there to be claimed
  expect(looks).toBe(2);
  await host.db.pool.query("update runs set status = 'success', ready = false, ended_at = now()");
  await runs.answered(run.run_id, true);
  expect(looks).toBe(2);
});

test("an answer that arrived before the run was over is noted with the end of the run", async () => {
  const gate = Promise.withResolvers<void>();
  const waits = oneNode(async () => {
    await gate.promise;
    return { log: ["done"] };
  });
  await using host = await runsHost({ graph: waits });
  await host.startWorker();
  const threadId = await host.thread();
  const { run_id } = await host.create(threadId);
  const noted = host.runs.answered(run_id, true);
  gate.resolve();
  const signal = AbortSignal.timeout(10_000);
  await host.runs.join(localPrincipal, { threadId, runId: run_id }, signal);
  const { rows } = await host.db.pool.query("select status, answered from runs");
  expect(rows).toEqual([{ status: "success", answered: true }]);
  await noted;
});

test("of requests that make one thread at the same moment each gets its run on it", async () => {
  await using host = await runsHost({ graph });
  const threadId = ThreadId.parse(uuidv7());
  const post = () => host.create(threadId, { if_not_exists: "create" });
  const created = await Promise.all([post(), post(), post()]);
  expect(new Set(created.map(({ run_id }) => run_id)).size).toBe(3);
  const { rows } = await host.db.pool.query("select count(*) filter (where ready) as heads from runs");
  expect(rows).toEqual([{ heads: "1" }]);
  expect(await host.threadRow(threadId)).toMatchObject({ status: "busy", graph_id: "graph" });
});
