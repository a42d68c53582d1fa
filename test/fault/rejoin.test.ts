import { expect, test } from "vitest";
import { createPool, transaction } from "../../db/pool.ts";
import { uuidv7 } from "../../lib/ids.ts";
import type { Log } from "../../lib/log.ts";
import { claimRuns } from "../../runs/claim.ts";
import { Hub } from "../../runs/events/hub.ts";
import { joinWorkers } from "../../runs/membership/join.ts";
import { RunWorker } from "../../runs/worker.ts";
import { silent, testServer } from "../support/database.ts";
import { oneNode, runsHost } from "../support/runs.ts";

const signals = { send() {}, on: () => () => {}, close: async () => {} };

test("while the database is away one loop tries to join again, and afterwards there is one worker", async () => {
  await using server = await testServer();
  const pool = createPool({ ...server.connection, max: 2, name: "test", log: silent });
  const tries: number[] = [];
  const enough = Promise.withResolvers<void>();
  const log: Log = {
    ...silent,
    error() {},
    info() {},
    warn(_about: unknown, message?: string) {
      if (message === "could not rejoin yet" && tries.push(performance.now()) === 5) enough.resolve();
    },
    child: () => log,
  };
  const options = { pool, connection: server.connection, hub: new Hub(), signals, graphs: new Map(), log };
  const worker = await RunWorker.start({ ...options, concurrency: 1, leaseSeconds: 2 });

  await server.postgres.stop();
  await enough.promise;
  expect(tries[4]! - tries[0]!).toBeGreaterThan(1_900); // four waits of 500 ms, and not a doubling crowd
  await server.restart();
  const live = "select from workers where lease_until > now()";
  await expect.poll(async () => (await pool.query(live)).rowCount, { timeout: 15_000 }).toBe(1);
  await worker.close(0);
  await pool.end();
});

test("a worker that is closed while it joins again leaves nobody behind", async () => {
  await using server = await testServer();
  const pool = createPool({ ...server.connection, max: 2, name: "worker", log: silent });
  const admin = createPool({ ...server.connection, max: 2, name: "test", log: silent });
  const options = { pool, connection: server.connection, hub: new Hub(), signals, graphs: new Map(), log: silent };
  const worker = await RunWorker.start({ ...options, concurrency: 1, leaseSeconds: 10 });
  const heartbeats = "pg_stat_activity where application_name = 'pawl heartbeat'";
  let closed = Promise.resolve();
  await transaction(admin, async (tx) => {
    await tx.query("lock table workers"); // joining gets no further than this
    await tx.query(`select pg_terminate_backend(pid) from ${heartbeats}`);
    const joining = `select from ${heartbeats} and query like 'insert into workers%' and wait_event_type = 'Lock'`;
    await expect.poll(async () => (await admin.query(joining)).rowCount, { timeout: 10_000 }).toBe(1);
    closed = worker.close(0);
  });
  await closed;
  await expect.poll(async () => (await admin.query(`select from ${heartbeats}`)).rowCount).toBe(0); // a backend takes a moment to end
  await Promise.all([pool.end(), admin.end()]);
});

test.each(["of many", "of one run, which it executes alone"])(
  "what a worker %s could not give back while the database was away is given back when it is there again, and suspected of nothing",
  async (kind) => {
    const isAlone = kind !== "of many";
    await using server = await testServer();
    const pool = createPool({ ...server.connection, max: 10, name: "test", log: silent });
    const left = Promise.withResolvers<void>();
    const log: Log = {
      ...silent,
      warn(_about: unknown, message?: string) {
        if (message === "run left to the queue") left.resolve();
      },
      child: () => log,
    };
    const entered = Promise.withResolvers<void>();
    let entries = 0;
    const graph = oneNode(async (_state, { signal }) => {
      entered.resolve();
      if ((entries += 1) === 1)
        await new Promise((_, no) => signal?.addEventListener("abort", () => no(signal.reason)));
      return { log: ["done"] };
    });
    const { connection } = server;
    await using host = await runsHost({ graph }, { connection, pool, [Symbol.asyncDispose]: () => pool.end() });
    const options = { pool, connection, hub: new Hub(), signals, graphs: host.graphs, log };
    const { run_id } = await host.create(await host.thread());
    const parent = uuidv7();
    const nothing = { onDead: async () => {}, onLost() {}, onBlocked() {} };
    await joinWorkers({ connection, workerId: parent, leaseSeconds: 600, concurrency: 1, ...nothing });
    const claim = { workerId: parent, graphs: [...host.graphs.values()], limit: 1 };
    const [held] = isAlone ? await claimRuns(pool, claim) : [];
    const worker = await RunWorker.start({
      ...options,
      concurrency: 1,
      leaseSeconds: 600, // it does not end in this test
      ...(held && { only: { run_id, worker_id: parent, epoch: held.epoch } }),
    });
    await entered.promise;
    await pool.query("update runs set claimed_seq = 1000"); // as if it had stored nothing yet, its input long before
    await server.postgres.stop();
    const ended = isAlone ? worker.idle().then(() => worker.close(0)) : undefined;
    await left.promise;
    await server.restart();
    await ended; // and so has its process
    const rows = () => pool.query("select status, suspect, stalled_attempts from runs").then((all) => all.rows);
    const expected = { status: isAlone ? "pending" : "success", suspect: false, stalled_attempts: 0 };
    await expect.poll(() => rows().catch(() => []), { timeout: 20_000 }).toEqual([expected]);
    await worker.close(0);
  },
);
