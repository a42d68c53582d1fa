import { setTimeout as delay } from "node:timers/promises";
import { StateGraph } from "@langchain/langgraph";
import { expect, test } from "vitest";
import { createPool } from "../../db/pool.ts";
import { localPrincipal } from "../../lib/principal.ts";
import type { RunId } from "../../lib/ids.ts";
import { silent, type TestDatabase, testDatabase, type TestServer, testServer } from "../support/database.ts";
import { Log, oneNode, runsHost } from "../support/runs.ts";

const never = new AbortController().signal;

/** A graph of one node that says when it was entered, and goes on once it is let. */
function gated() {
  const entered = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const graph = oneNode(async () => {
    entered.resolve();
    await gate.promise;
    return { log: ["done"] };
  });
  return { graph, entered: entered.promise, open: gate.resolve };
}

/** The one database of a server that the test stops. */
function databaseOf({ connection }: TestServer): TestDatabase {
  const pool = createPool({ ...connection, max: 10, name: "test", log: silent });
  return { connection, pool, [Symbol.asyncDispose]: () => pool.end() };
}

test("Postgres is restarted while a run executes: the run ends, and later runs too", async () => {
  await using server = await testServer();
  const { graph, entered, open } = gated();
  await using host = await runsHost({ graph }, databaseOf(server));
  await host.startWorker();
  const threadId = await host.thread();
  const run = await host.create(threadId, { input: { log: ["asked"] } });
  await entered;
  await server.restart();
  open();
  expect(await outcome(host.runs, run.run_id)).toMatchObject({ status: "success", values: { log: ["asked", "done"] } });
  const later = await host.create(threadId);
  expect(await outcome(host.runs, later.run_id)).toMatchObject({ status: "success" });
});

test("who asks for the end of a run while the database is away is told when it is back", async () => {
  await using server = await testServer();
  const { graph, entered, open } = gated();
  await using host = await runsHost({ graph }, databaseOf(server));
  await host.startWorker();
  const elsewhere = await host.elsewhere();
  const run = await host.create(await host.thread(), { input: { log: ["asked"] } });
  await entered;
  await server.postgres.stop();
  const told = elsewhere.join(localPrincipal, { runId: run.run_id }, never);
  told.catch(() => {}); // looked at below
  await server.restart();
  open();
  expect(await told).toMatchObject({ status: "success", values: { log: ["asked", "done"] } });
});

test("every connection is cut while runs execute: each run ends once, in success", async () => {
  await using db = await testDatabase();
  const { graph, entered, open } = gated();
  await using host = await runsHost({ graph }, { ...db, [Symbol.asyncDispose]: async () => {} });
  await host.startWorker();
  const runs = [];
  for (let i = 0; i < 4; i++) runs.push(await host.create(await host.thread(), { input: { log: [`${i}`] } }));
  await entered;
  await db.pool
    .query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
    )
    .catch(() => {}); // one's own connection may be among them on the way back
  open();
  for (const [i, { run_id }] of runs.entries()) {
    expect(await outcome(host.runs, run_id)).toMatchObject({ status: "success", values: { log: [`${i}`, "done"] } });
  }
  const { rows } = await db.pool.query("select status from threads");
  expect(rows.map(({ status }) => status)).toEqual(["idle", "idle", "idle", "idle"]);
});

test(
  "fifty times connections are cut at random: every run ends in success, each step in its state once",
  { timeout: 150_000 },
  async () => {
    await using db = await testDatabase();
    const STEPS = 120;
    let done = 0;
    const graph = new StateGraph(Log)
      .addNode("step", async ({ log }) => {
        await delay(5);
        done += 1;
        return { log: [String(log.length)] };
      })
      .addEdge("__start__", "step")
      .addConditionalEdges("step", ({ log }) => (log.length < STEPS ? "step" : "__end__"))
      .compile();
    await using host = await runsHost({ graph }, { ...db, [Symbol.asyncDispose]: async () => {} });
    await host.startWorker();
    await host.startWorker();
    const admin = createPool({ ...db.connection, max: 1, name: "admin", log: silent });
    const config = { recursion_limit: 1_000 };
    const runs = [];
    for (let i = 0; i < 4; i++) runs.push(await host.create(await host.thread(), { config }));
    for (let cut = 0; cut < 50; cut++) {
      await admin.query(`
      select pg_terminate_backend(pid)
        from pg_stat_activity
       where datname = current_database() and application_name <> 'admin'
         and random() < case application_name when 'test' then 0.5 else 0.1 end`);
      const before = done;
      const isOver = async () =>
        (await admin.query("select from runs where status in ('pending', 'running')")).rowCount === 0;
      await expect.poll(async () => done > before || (await isOver()), { interval: 5, timeout: 30_000 }).toBe(true);
    }
    runs.push(await host.create(await host.thread(), { config })); // the loops of the workers are alive
    for (const { run_id } of runs) {
      const log = Array.from({ length: STEPS }, (_, i) => String(i));
      expect(await outcome(host.runs, run_id)).toMatchObject({ status: "success", values: { log } });
    }
    const { rows } = await admin.query("select distinct status, stalled_attempts from runs");
    expect(rows).toEqual([{ status: "success", stalled_attempts: 0 }]);
    await admin.end();
  },
);

/** Asks again while the database is away: so does a client. */
async function outcome(runs: Awaited<ReturnType<typeof runsHost>>["runs"], runId: RunId) {
  return expect
    .poll(() => runs.join(localPrincipal, { runId }, never).catch(() => undefined), { timeout: 20_000 })
    .toBeDefined()
    .then(() => runs.join(localPrincipal, { runId }, never));
}
