/** Runs that end the process which executes them, and what that does to others: nothing. */
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { emptyCheckpoint } from "@langchain/langgraph-checkpoint";
import { beforeEach, expect, test } from "vitest";
import { FencedSaver } from "../../checkpoints/fenced-saver.ts";
import { uuidv7 } from "../../lib/ids.ts";
import { localPrincipal } from "../../lib/principal.ts";
import { adoptRun, claimRuns } from "../../runs/claim.ts";
import { requeueRun, requeueWorker } from "../../runs/requeue.ts";
import { oneNode, runsHost } from "../support/runs.ts";
import { testDatabase } from "../support/database.ts";
import { spawnServer, spawnWorker, type SpawnOptions } from "../support/server.ts";

const never = new AbortController().signal;
let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "pawl-poison-"));
  return () => rm(folder, { recursive: true, force: true });
});

/** A worker that is started again when it dies, as a supervisor does. */
async function supervised(options: SpawnOptions) {
  const over = new AbortController();
  let deaths = 0;
  let current = await spawnWorker(options);
  const ended = (async () => {
    while (!over.signal.aborted) {
      await once(current.process, "exit");
      if (over.signal.aborted) return;
      deaths += 1;
      current = await spawnWorker(options);
    }
  })();
  return {
    get deaths() {
      return deaths;
    },
    async [Symbol.asyncDispose]() {
      over.abort();
      await current[Symbol.asyncDispose]();
      await ended;
    },
  };
}

test("runs that end their process end as error, and cost eight neighbours nothing", { timeout: 300_000 }, async () => {
  await using database = await testDatabase();
  const graphs = { fatal: "test/support/graphs/fatal.ts:graph" };
  const options = {
    graphs,
    ...database,
    env: { NODE_OPTIONS: "--max-old-space-size=192", PAWL_WORKER_CONCURRENCY: "20" },
  };
  await using server = await spawnServer({ ...options, args: ["--no-workers"] });
  await using worker = await supervised(options);
  const { client } = server;

  const start = async (name: string, death?: string) => {
    const { thread_id } = await client.threads.create();
    const { run_id } = await client.runs.create(thread_id, "fatal", { input: { folder, name, death } });
    return { name, thread_id, run_id };
  };
  const neighbours = await Promise.all(Array.from({ length: 8 }, (_, i) => start(`neighbour ${i}`)));
  const poison = await Promise.all(["exit", "segfault", "memory"].map((death) => start(death, death)));
  const entered = async () =>
    new Set((await readFile(join(folder, "entered"), "utf8").catch(() => "")).trim().split("\n"));
  await expect.poll(async () => (await entered()).size, { timeout: 60_000 }).toBe(11);
  await writeFile(join(folder, "go"), "");
  await expect.poll(() => worker.deaths, { timeout: 120_000 }).toBe(2); // input stored, then nothing more: suspects
  await writeFile(join(folder, "done"), "");

  for (const { thread_id, run_id, name } of neighbours) {
    await client.runs.join(thread_id, run_id);
    expect((await client.threads.get(thread_id)).values).toMatchObject({ log: [name] });
  }
  const runs = `select r.status, stalled_attempts, r.error ->> 'error' as code, t.status as thread
                  from runs r join threads t using (thread_id) where run_id = any($1)`;
  const rows = async (of: { run_id: string }[]) =>
    (await database.pool.query(runs, [of.map((run) => run.run_id)])).rows;
  expect(new Set((await rows(neighbours)).map((row) => JSON.stringify(row)))).toEqual(
    new Set([JSON.stringify({ status: "success", stalled_attempts: 0, code: null, thread: "idle" })]),
  );
  for (const { thread_id, run_id } of poison) await client.runs.join(thread_id, run_id).catch(() => {});
  const abandoned = { status: "error", stalled_attempts: 3, code: "run_abandoned", thread: "error" };
  expect(await rows(poison)).toEqual([abandoned, abandoned, abandoned]);
  expect(worker.deaths).toBe(2);

  const next = await client.runs.wait(poison[0]!.thread_id, "fatal", { input: { name: "next", death: null } });
  expect(next).toMatchObject({ log: ["next"] });
});

test("without a process to give, a suspect runs when nothing else does, and nothing else starts meanwhile", async () => {
  const entered: string[] = [];
  const gates = new Map([
    ["first", Promise.withResolvers<void>()],
    ["suspect", Promise.withResolvers<void>()],
    ["later", Promise.withResolvers<void>()],
  ]);
  const graph = oneNode(async ({ log: [name = ""] }) => {
    entered.push(name);
    await gates.get(name)?.promise;
    return {};
  });
  await using host = await runsHost({ graph });
  const create = async (name: string) => host.create(await host.thread(), { input: { log: [name] } });
  const { pool } = host.db;
  const suspect = await create("suspect");
  await pool.query("update runs set suspect = true, run_after = now() + interval '1 hour' where run_id = $1", [
    suspect.run_id,
  ]);
  const first = await create("first");
  await host.startWorker();
  await expect.poll(() => entered).toEqual(["first"]);
  await pool.query("update runs set run_after = now() where run_id = $1", [suspect.run_id]);
  const status = async (run: { run_id: string }) =>
    (await pool.query("select status, alone_epoch = epoch as alone from runs where run_id = $1", [run.run_id])).rows[0];
  await expect.poll(() => status(suspect), { timeout: 10_000 }).toEqual({ status: "running", alone: null }); // held
  const later = await create("later");
  expect(entered).toEqual(["first"]);
  gates.get("first")?.resolve();
  await expect.poll(() => entered, { timeout: 10_000 }).toEqual(["first", "suspect"]);
  expect(await status(suspect)).toEqual({ status: "running", alone: true });
  expect(await status(later)).toMatchObject({ status: "pending" });
  gates.get("suspect")?.resolve();
  gates.get("later")?.resolve();
  for (const run of [suspect, first, later]) {
    expect(await host.runs.join(localPrincipal, { runId: run.run_id }, never)).toMatchObject({ status: "success" });
  }
  expect(entered).toEqual(["first", "suspect", "later"]);
});

test("a suspect whose turn could not be recorded gets another one", async () => {
  const graph = oneNode(async () => ({ log: ["done"] }));
  await using host = await runsHost({ graph });
  const { pool } = host.db;
  await pool.query(`
    create sequence turns;
    create function refuse_first() returns trigger language plpgsql as
      $$ begin if nextval('turns') = 1 then raise 'the disk is full'; end if; return new; end $$;
    create trigger refuse_first before update of alone_epoch on runs for each row execute function refuse_first()`);
  const run = await host.create(await host.thread());
  await pool.query("update runs set suspect = true");
  await host.startWorker();
  expect(await host.runs.join(localPrincipal, { runId: run.run_id }, never)).toMatchObject({ status: "success" });
  expect((await pool.query("select last_value from turns")).rows).toEqual([{ last_value: "2" }]);
});

test("deaths count until a step is stored, also by an attempt that was then given back in order", async () => {
  await using host = await runsHost({ graph: oneNode(async () => ({})) });
  const { pool } = host.db;
  const threadId = await host.thread();
  await host.create(threadId);
  await pool.query("update runs set suspect = true");
  const claims = { graphs: [...host.graphs.values()], limit: 1, suspects: true };
  const alone = async () => {
    const [holder, worker] = [uuidv7(), uuidv7()];
    const [held] = await claimRuns(pool, { ...claims, workerId: holder });
    const [adopted] = await adoptRun(pool, { run_id: held!.run_id, worker_id: holder, epoch: held!.epoch }, worker);
    return { run: adopted!, worker };
  };
  const counted = async () => (await pool.query("select suspect, stalled_attempts from runs")).rows[0];
  for (const deaths of [1, 2]) {
    await requeueWorker(pool, (await alone()).worker);
    expect(await counted()).toEqual({ suspect: true, stalled_attempts: deaths });
  }
  const { run, worker } = await alone();
  await requeueRun(pool, { ...run, worker_id: worker });
  expect(await counted()).toEqual({ suspect: true, stalled_attempts: 2 });
  const next = await alone();
  const saver = new FencedSaver(pool, next.run);
  await saver.put(
    { configurable: { thread_id: threadId } },
    emptyCheckpoint(),
    { source: "loop", step: 0, parents: {} },
    {},
  );
  await requeueRun(pool, { ...next.run, worker_id: next.worker });
  expect(await counted()).toEqual({ suspect: true, stalled_attempts: 0 });
});

test(
  "thirty workers that were stopped in order, one after the other, count nothing against a run",
  { timeout: 120_000 },
  async () => {
    const isLast = Promise.withResolvers<void>();
    let entered = Promise.withResolvers<void>();
    const graph = oneNode(async (_state, { signal }) => {
      entered.resolve();
      await Promise.race([
        isLast.promise,
        new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason))),
      ]);
      return { log: ["done"] };
    });
    await using host = await runsHost({ graph });
    const run = await host.create(await host.thread());
    for (let restarts = 0; restarts < 30; restarts++) {
      const worker = await host.startWorker();
      await entered.promise;
      entered = Promise.withResolvers();
      await worker.close(0);
    }
    isLast.resolve();
    await host.startWorker();
    expect(await host.runs.join(localPrincipal, { runId: run.run_id }, never)).toMatchObject({ status: "success" });
    const { rows } = await host.db.pool.query("select suspect, stalled_attempts, attempt from runs");
    expect(rows).toEqual([{ suspect: false, stalled_attempts: 0, attempt: 31 }]);
  },
);
