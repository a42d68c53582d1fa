import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { FencedSaver } from "../../checkpoints/fenced-saver.ts";
import { transaction } from "../../db/pool.ts";
import { isPawlError } from "../../lib/errors.ts";
import { uuidv7 } from "../../lib/ids.ts";
import { localPrincipal } from "../../lib/principal.ts";
import { type ClaimedRun, claimRuns } from "../../runs/claim.ts";
import { RunLedger } from "../../runs/effects/ledger.ts";
import { Hub } from "../../runs/events/hub.ts";
import { EventWriter } from "../../runs/events/writer.ts";
import { finishRun } from "../../runs/finish.ts";
import { lockThread } from "../../runs/queue.ts";
import { requeueRun, requeueWorker } from "../../runs/requeue.ts";
import { oneNode, type RunsHost, runsHost } from "../support/runs.ts";
import { blocking, fileExists, gated } from "./graphs.ts";
import { type ChildOptions, spawnWorker } from "./spawn-worker.ts";

const never = new AbortController().signal;
let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "pawl-fault-"));
  return () => rm(folder, { recursive: true, force: true });
});

const childOptions = (host: RunsHost, leaseSeconds: number): ChildOptions => ({
  connection: host.db.connection,
  leaseSeconds,
  notes: join(folder, "notes"),
  gate: join(folder, "gate"),
  blockMs: 5_000,
});

const faultHost = (): Promise<RunsHost> =>
  runsHost({
    gated: gated(join(folder, "notes"), join(folder, "gate")),
    blocking: blocking(join(folder, "notes"), 5_000),
  });

test("a killed worker's run goes on elsewhere as soon as its lock falls free, from its last step", async () => {
  await using host = await faultHost();
  await using child = await spawnWorker(childOptions(host, 3_600));
  const threadId = await host.thread();
  const run = await host.create(threadId);
  await fileExists(join(folder, "notes"));
  const events = await host.runs.events(localPrincipal, { runId: run.run_id }, { after: "-1", signal: never });
  const seen: { id: string; event: string; data: unknown }[] = [];
  const entered = Promise.withResolvers<void>();
  const retaken = Promise.withResolvers<void>();
  const told = (async () => {
    for await (const event of events) {
      seen.push(event);
      if (event.event === "metadata" && (event.data as { attempt: number }).attempt === 2) retaken.resolve();
      if (event.event === "values" && (event.data as { log: string[] }).log.includes("first")) entered.resolve();
    }
  })();
  await host.startWorker({ leaseSeconds: 3_600 });
  await entered.promise;

  child.kill("SIGKILL");
  await retaken.promise; // the lease would have ended in an hour
  await writeFile(join(folder, "gate"), "");
  await told;

  expect((await host.threadRow(threadId))["values"]).toEqual({ log: ["first", "second"] });
  expect((await readFile(join(folder, "notes"), "utf8")).trim().split("\n")).toEqual(["first", "second", "second"]);
  expect((await host.runs.get(localPrincipal, { runId: run.run_id })).status).toBe("success");
  const ids = seen.map(({ id }) => BigInt(id));
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids).toEqual(ids.toSorted((a, b) => (a < b ? -1 : 1)));
});

test("a node that blocks the main loop for longer than the lease does not cost its worker the run", async () => {
  await using host = await faultHost();
  await using child = await spawnWorker(childOptions(host, 2));
  const threadId = await host.thread();
  const run = await host.create(threadId, { assistant_id: "blocking" });
  await fileExists(join(folder, "notes"));
  await host.startWorker({ leaseSeconds: 2 });
  const outcome = await host.runs.join(localPrincipal, { runId: run.run_id }, never);
  expect(outcome).toMatchObject({ status: "success", values: { log: ["blocked"] } });
  expect((await host.runs.get(localPrincipal, { runId: run.run_id })).attempt).toBe(1);
  expect(child.child.exitCode).toBeNull();
});

test("a worker that is stopped past its lease loses its runs, and changes nothing when it goes on", async () => {
  await using host = await faultHost();
  await using child = await spawnWorker(childOptions(host, 2));
  const threadId = await host.thread();
  const run = await host.create(threadId);
  await fileExists(join(folder, "notes"));
  child.kill("SIGSTOP");
  await host.startWorker({ leaseSeconds: 2 });
  const outcome = host.runs.join(localPrincipal, { runId: run.run_id }, never);
  await writeFile(join(folder, "gate"), "");
  expect(await outcome).toMatchObject({ status: "success", values: { log: ["first", "second"] } });
  const before = await dump(host);
  child.kill("SIGCONT");
  // The zombie executes again once it has rejoined as a new worker: by then it has tried, and failed, to write.
  await expect
    .poll(async () => (await host.db.pool.query("select from workers")).rowCount, { timeout: 15_000 })
    .toBe(2);
  expect(await dump(host)).toEqual(before);
});

async function dump(host: RunsHost): Promise<unknown> {
  const tables = ["runs", "threads", "checkpoints", "checkpoint_writes", "thread_events", "effects"];
  return Promise.all(tables.map(async (table) => (await host.db.pool.query(`select * from ${table}`)).rows));
}

const takeOvers = {
  "given back, and not claimed yet": async ({ pool }: RunsHost["db"], zombie: ClaimedRun, workerId: string) => {
    expect(await requeueRun(pool, { ...zombie, worker_id: workerId })).toBe(true);
  },
  "taken from a worker that died, and not claimed yet": async (
    { pool }: RunsHost["db"],
    _: ClaimedRun,
    workerId: string,
  ) => {
    expect(await requeueWorker(pool, workerId)).toHaveLength(1);
  },
  "claimed by another": async ({ pool }: RunsHost["db"], zombie: ClaimedRun, workerId: string) => {
    expect(await requeueRun(pool, { ...zombie, worker_id: workerId })).toBe(true);
    const graphs = [{ graph_id: zombie.graph_id, hash: "test" }];
    expect(await claimRuns(pool, { workerId: uuidv7(), graphs, limit: 1 })).toHaveLength(1);
  },
};

test.each(Object.entries(takeOvers))(
  "after its run was %s, a zombie's checkpoint, event, effect and end are refused and leave no row",
  async (_, takeOver) => {
    await using host = await runsHost({ graph: oneNode(async () => ({})) });
    const { pool } = host.db;
    const threadId = await host.thread();
    await host.create(threadId);
    const workerId = uuidv7();
    const [zombie] = await claimRuns(pool, { workerId, graphs: [...host.graphs.values()], limit: 1 });
    await takeOver(host.db, zombie!, workerId);
    const before = await dump(host);

    const failed = Promise.withResolvers<Error>();
    const signals = { send() {}, on: () => () => {}, close: async () => {} };
    const writer = new EventWriter({
      pool,
      hub: new Hub(),
      signals,
      owner: zombie!,
      encryption: undefined,
      run: zombie!,
      onFailure: failed.resolve,
    });
    await writer.push("values", { late: true });
    await writer.flush();
    expect(isPawlError(await failed.promise, "lease_lost")).toBe(true);

    const saver = new FencedSaver(pool, { thread_id: threadId, epoch: zombie!.epoch });
    const config = { configurable: { thread_id: threadId, checkpoint_ns: "", checkpoint_id: uuidv7() } };
    const attempts = [
      () => saver.putWrites(config, [["log", ["late"]]], uuidv7()),
      async () =>
        finishRun(pool, zombie!, {
          status: "success",
          isRolledBack: false,
          isAnswered: false,
          log: await writer.lastRow(),
        }),
      () =>
        new RunLedger({
          encryption: undefined,
          db: pool,
          owner: zombie!,
          run: zombie!,
          signal: never,
          durability: "sync",
        }).perform({ key: "late", name: "late", kind: "irreversible", taskId: "late" }, () =>
          Promise.reject(new Error("it was dispatched")),
        ),
    ];
    for (const attempt of attempts) await expect(attempt()).rejects.toSatisfy((e) => isPawlError(e, "lease_lost"));
    expect(await dump(host)).toEqual(before);
  },
);

test("a session of the dead that still holds the lock of one thread does not hold up the runs of the others", async () => {
  await using host = await runsHost({ graph: oneNode(async () => ({})) });
  const { pool } = host.db;
  const dead = uuidv7();
  const [first, second] = [await host.create(await host.thread()), await host.create(await host.thread())];
  await claimRuns(pool, { workerId: dead, graphs: [...host.graphs.values()], limit: 2 });
  const entered = Promise.withResolvers<void>();
  const left = Promise.withResolvers<void>();
  const open = transaction(pool, async (tx) => {
    await lockThread(tx, first.thread_id);
    entered.resolve();
    await left.promise;
  });
  await entered.promise;
  expect(await requeueWorker(pool, dead)).toMatchObject([{ run_id: second.run_id }]);
  left.resolve();
  await open;
  expect(await requeueWorker(pool, dead)).toMatchObject([{ run_id: first.run_id }]);
});
