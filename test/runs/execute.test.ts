import { Annotation, interrupt, StateGraph } from "@langchain/langgraph";
import { PostgresSaver } from "@langchain/langgraph-checkpoint-postgres";
import pg from "pg";
import { expect, test } from "vitest";
import { createPool } from "../../db/pool.ts";
import { isPawlError } from "../../lib/errors.ts";
import { hostOf } from "../../lib/host.ts";
import { type RunId, ThreadId, uuidv7 } from "../../lib/ids.ts";
import { localPrincipal } from "../../lib/principal.ts";
import type { RunEvent, RunOutcome } from "../../runs/index.ts";
import { createThreads } from "../../runs/threads/threads.ts";
import { silent, testDatabase } from "../support/database.ts";
import { Log, oneNode, type RunsHost, runsHost } from "../support/runs.ts";

const never = new AbortController().signal;

function join(host: RunsHost, run: { run_id: RunId; thread_id: ThreadId }): Promise<RunOutcome> {
  return host.runs.join(localPrincipal, { threadId: run.thread_id, runId: run.run_id }, never);
}

async function collect(host: RunsHost, run: { run_id: RunId }, after = "-1"): Promise<RunEvent[]> {
  return Array.fromAsync(await host.runs.events(localPrincipal, { runId: run.run_id }, { after, signal: never }));
}

test("a run is executed, its events are told in order, and the thread is up to date when it ends", async () => {
  await using host = await runsHost({ graph: oneNode(async () => ({ log: ["worked"] })) });
  await host.startWorker();
  const threadId = await host.thread();
  const run = await host.create(threadId, { input: { log: ["asked"] } });
  const outcome = await join(host, run);
  expect(outcome).toEqual({ status: "success", values: { log: ["asked", "worked"] } });
  expect(await host.threadRow(threadId)).toMatchObject({ status: "idle", values: { log: ["asked", "worked"] } });
  const events = await collect(host, run);
  expect(events.map(({ event, data }) => [event, data])).toEqual([
    ["metadata", { run_id: run.run_id, attempt: 1 }],
    ["values", { log: ["asked"] }],
    ["values", { log: ["asked", "worked"] }],
  ]);
  expect(events.map(({ id }) => BigInt(id))).toEqual(
    events.map(({ id }) => BigInt(id)).toSorted((a, b) => (a < b ? -1 : 1)),
  );
  expect(await collect(host, run, events[1]!.id)).toEqual(events.slice(2));
});

test("a graph that throws ends its run as error, tells it last, and the thread can go on", async () => {
  let isBroken = true;
  await using host = await runsHost({
    graph: oneNode(async () => {
      if (isBroken) throw new RangeError("no luck");
      return { log: ["luck"] };
    }),
  });
  await host.startWorker();
  const threadId = await host.thread();
  const run = await host.create(threadId, { input: { log: ["a"] } });
  expect(await join(host, run)).toMatchObject({ status: "error", error: { error: "RangeError", message: "no luck" } });
  expect((await collect(host, run)).at(-1)).toMatchObject({
    event: "error",
    data: { error: "RangeError", message: "no luck" },
  });
  expect(await host.threadRow(threadId)).toMatchObject({ status: "error", values: { log: ["a"] }, interrupts: {} });
  isBroken = false;
  expect(await join(host, await host.create(threadId, { input: null }))).toMatchObject({ status: "success" });
  expect(await host.threadRow(threadId)).toMatchObject({ status: "idle", error: null, values: { log: ["a", "luck"] } });
});

test.each<{ what: string; lose: () => Promise<unknown> }>([
  { what: "an address", lose: () => fetch("http://127.0.0.1:59998") },
  { what: "a database", lose: () => new pg.Client({ host: "127.0.0.1", port: 59998 }).connect() },
  { what: "a database in the middle", lose: () => Promise.reject(new Error("Connection terminated unexpectedly")) },
])("a node that loses $what of its own fails its run, once: it is not ours that is away", async ({ lose }) => {
  let entries = 0;
  const graph = oneNode(async () => {
    entries += 1;
    await lose();
    return {};
  });
  await using host = await runsHost({ graph });
  await host.startWorker();
  const run = await host.create(await host.thread());
  expect(await join(host, run)).toMatchObject({ status: "error" });
  expect(entries).toBe(1);
});

test("a run that is cancelled aborts its node, keeps what it has and frees the thread for the next", async () => {
  const started = Promise.withResolvers<void>();
  const aborted = Promise.withResolvers<void>();
  let isFirst = true;
  await using host = await runsHost({
    graph: oneNode(async (_state, { signal }) => {
      if (!isFirst) return { log: ["second"] };
      isFirst = false;
      signal?.addEventListener("abort", () => aborted.resolve());
      started.resolve();
      await new Promise(() => {}); // ignores its signal
      return {};
    }),
  });
  await host.startWorker();
  const threadId = await host.thread();
  const run = await host.create(threadId, { input: { log: ["kept"] } });
  const next = await host.create(threadId, { input: { log: ["next"] } });
  await started.promise;
  await host.runs.cancel(localPrincipal, { runId: run.run_id }, { action: "interrupt", wait: never });
  await aborted.promise;
  expect((await host.runs.get(localPrincipal, { runId: run.run_id })).status).toBe("interrupted");
  expect(await join(host, next)).toMatchObject({ status: "success", values: { log: ["kept", "next", "second"] } });
  expect((await collect(host, run)).map(({ event }) => event)).not.toContain("error");
});

test("a rolled back run leaves neither a row nor a checkpoint nor a value", async () => {
  const started = Promise.withResolvers<void>();
  let turn = 0;
  await using host = await runsHost({
    graph: oneNode(async (_state, { signal }) => {
      turn += 1;
      if (turn !== 2) return { log: [`turn ${turn}`] };
      started.resolve();
      return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(new Error("stopped"))));
    }),
  });
  await host.startWorker();
  const threadId = await host.thread();
  await join(host, await host.create(threadId, { input: { log: ["one"] } }));
  const second = await host.create(threadId, { input: { log: ["two"] } });
  await started.promise;
  const third = await host.create(threadId, { input: { log: ["three"] }, multitask_strategy: "rollback" });
  expect(await join(host, third)).toMatchObject({ values: { log: ["one", "turn 1", "three", "turn 3"] } });
  await expect(host.runs.get(localPrincipal, { runId: second.run_id })).rejects.toSatisfy((e) =>
    isPawlError(e, "run_not_found"),
  );
  const { rows } = await host.db.pool.query("select from checkpoints where metadata ->> 'run_id' = $1", [
    second.run_id,
  ]);
  expect(rows).toEqual([]);
});

test.each(["interrupt", "rollback"] as const)(
  "a cancel (%s) that comes when the graph is through, but the run not finished, is obeyed",
  async (action) => {
    const graph = oneNode(async () => ({ log: ["done"] }));
    let host: RunsHost | undefined;
    // The state is read once the graph is through: the last moment before the end is written down.
    const late = new Proxy(graph, {
      get: (target, key) =>
        key !== "getState"
          ? Reflect.get(target, key, target)
          : async (config: Parameters<typeof graph.getState>[0]) => {
              const { rows } = await host!.db.pool.query("select run_id from runs where cancel_action is null");
              for (const { run_id } of rows) {
                await host!.runs.cancel(localPrincipal, { runId: run_id }, { action });
              }
              return target.getState(config);
            },
    });
    await using own = await runsHost({ late });
    host = own;
    await own.startWorker();
    const threadId = await own.thread();
    const run = await own.create(threadId, { input: { log: ["asked"] } });
    expect(await join(own, run)).toMatchObject({ status: "interrupted" });
    const left = await own.runs.get(localPrincipal, { runId: run.run_id }).catch((error: unknown) => error);
    if (action === "interrupt") {
      expect(left).toMatchObject({ status: "interrupted" });
      expect(await own.threadRow(threadId)).toMatchObject({ status: "idle", values: { log: ["asked", "done"] } });
    } else {
      expect(isPawlError(left, "run_not_found")).toBe(true);
      expect((await own.db.pool.query("select from checkpoints")).rowCount).toBe(0);
    }
  },
);

test("a stateless run gets its answer and leaves nothing behind", async () => {
  await using host = await runsHost({ graph: oneNode(async () => ({ log: ["worked"] })) });
  await host.startWorker();
  const run = await host.runs.create(localPrincipal, { assistant_id: "graph", input: { log: ["x"] } }, {});
  expect(await join(host, run)).toEqual({ status: "success", values: { log: ["x", "worked"] } });
  for (const table of ["threads", "runs", "checkpoints", "checkpoint_blobs", "checkpoint_writes", "thread_owner"]) {
    expect((await host.db.pool.query(`select from ${table}`)).rowCount, table).toBe(0);
  }
  expect(await join(host, run)).toEqual({ status: "success", values: { log: ["x", "worked"] } });
});

test("deleting a thread aborts what executes on it", async () => {
  const started = Promise.withResolvers<void>();
  const aborted = Promise.withResolvers<void>();
  await using host = await runsHost({
    graph: oneNode(async (_state, { signal }) => {
      signal?.addEventListener("abort", () => aborted.resolve());
      started.resolve();
      await aborted.promise;
      return { log: ["late"] };
    }),
  });
  await host.startWorker();
  const threadId = await host.thread();
  await host.create(threadId);
  await started.promise;
  const threads = createThreads({ pool: host.db.pool, graphs: host.graphs });
  await threads.delete(localPrincipal, threadId);
  await aborted.promise; // by the sweep at the latest
  expect((await host.db.pool.query("select from checkpoints")).rowCount).toBe(0);
});

test("a task that a cancelled run has left behind has no effect on the world any more", async () => {
  const entered = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const late = Promise.withResolvers<unknown>();
  const sent: string[] = [];
  await using host = await runsHost({
    graph: oneNode(async (_state, config) => {
      entered.resolve();
      await gate.promise; // whatever becomes of its signal
      const effect = hostOf(config).effect({ key: "mail", name: "mail", kind: "irreversible" }, async () =>
        sent.push("mail"),
      );
      late.resolve(await effect.catch((error: unknown) => error));
      return {};
    }),
  });
  await host.startWorker();
  const run = await host.create(await host.thread());
  await entered.promise;
  await host.runs.cancel(localPrincipal, { runId: run.run_id }, { action: "interrupt", wait: never });
  gate.resolve();
  expect(isPawlError(await late.promise, "lease_lost")).toBe(true);
  expect(sent).toEqual([]);
});

test("a run whose state its graph cannot read ends as error, and is not tried for ever", async () => {
  const graph = oneNode(async () => ({ log: ["done"] }));
  const unreadable = new Proxy(graph, {
    get: (target, key) =>
      key === "getState" ? () => Promise.reject(new TypeError("no such channel")) : Reflect.get(target, key, target),
  });
  await using host = await runsHost({ unreadable });
  await host.startWorker();
  const threadId = await host.thread();
  const run = await host.create(threadId);
  expect(await join(host, run)).toMatchObject({
    status: "error",
    error: { error: "TypeError", message: "no such channel" },
  });
  expect(await host.threadRow(threadId)).toMatchObject({ status: "error" });
  expect((await host.runs.get(localPrincipal, { runId: run.run_id })).attempt).toBe(1);
});

test("each step waits for the disk; the input, after which nothing has happened yet, reaches it with the first", async () => {
  await using db = await testDatabase();
  await db.pool.query(`
    create table seen (source text, setting text);
    create function see() returns trigger language plpgsql as $$
      begin
        insert into seen values (new.metadata ->> 'source', current_setting('synchronous_commit'));
        return null;
      end $$;
    create trigger see after insert on checkpoints for each row execute function see();
    do $$ begin execute format('alter database %I set synchronous_commit = on', current_database()); end $$`);
  const pool = createPool({ ...db.connection, max: 4, name: "test", log: silent }); // the sessions from here on
  await using host = await runsHost(
    { graph: oneNode(async () => ({ log: ["done"] })) },
    { connection: db.connection, pool, [Symbol.asyncDispose]: () => pool.end() },
  );
  await host.startWorker();
  const threadId = await host.thread();
  await join(host, await host.create(threadId));
  const { rows } = await pool.query("select * from seen");
  expect(rows).toEqual([
    { source: "input", setting: "off" },
    { source: "loop", setting: "on" },
    { source: "loop", setting: "on" },
  ]);
});

test("a run on a thread that came with it begins with nothing, and the next one goes on from what it left", async () => {
  await using host = await runsHost({ graph: oneNode(async ({ log }) => ({ log: [String(log.length)] })) });
  await host.startWorker();
  const threadId = ThreadId.parse(uuidv7());
  const first = await host.create(threadId, { if_not_exists: "create" });
  expect(await join(host, first)).toMatchObject({ status: "success", values: { log: ["0"] } });
  const second = await host.create(threadId, { if_not_exists: "create" });
  expect(await join(host, second)).toMatchObject({ status: "success", values: { log: ["0", "1"] } });
});

test("a run on a thread of the stock saver, which no Pawl has heard of, goes on from what is there", async () => {
  const graph = new StateGraph(Log)
    .addNode("work", () => ({ log: ["worked"] }))
    .addEdge("__start__", "work")
    .compile();
  await using host = await runsHost({ graph });
  await host.startWorker();
  const threadId = ThreadId.parse(uuidv7());
  const stock = new PostgresSaver(host.db.pool);
  await graph.invoke({ log: ["before"] }, { configurable: { thread_id: threadId, __pregel_checkpointer: stock } });
  const outcome = await join(host, await host.create(threadId, { input: { log: ["asked"] }, if_not_exists: "create" }));
  expect(outcome.values).toEqual({ log: ["before", "worked", "asked", "worked"] });
});

test.each(["sync", "async", "exit"] as const)(
  "with durability %s the row of a thread says at the end of a run what its state says",
  async (durability) => {
    const State = Annotation.Root({
      ...Log.spec,
      kept: Annotation<string[]>({ reducer: (_, b) => b, default: () => [] }),
    });
    const graph = new StateGraph(State)
      .addNode("careless", ({ kept }) => {
        kept.push("changed in place, and not written");
        return { log: ["careless"] };
      })
      .addNode("asks", ({ kept }) => {
        kept.push("changed before it asks");
        return { log: [interrupt<string, string>("well?")] };
      })
      .addEdge("__start__", "careless")
      .addEdge("__start__", "asks")
      .compile();
    await using host = await runsHost({ graph });
    await host.startWorker();
    const threads = createThreads({ pool: host.db.pool, graphs: host.graphs });
    const threadId = await host.thread();
    for (const body of [{ input: { kept: ["given"] } }, { command: { resume: "yes" } }]) {
      await join(host, await host.create(threadId, { ...body, durability }));
      const state = await threads.state(localPrincipal, { threadId });
      expect((await host.threadRow(threadId))["values"]).toEqual(state.values);
    }
  },
);

test.each(["interrupt", "rollback"] as const)(
  "what a cancelled graph (%s) has under way has landed before its thread is read",
  async (action) => {
    await using host = await runsHost({ graph: oneNode(async () => ({ log: ["worked"] })) });
    const { pool } = host.db;
    const threads = createThreads({ pool, graphs: host.graphs });
    await pool.query(`
      create function wait() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock(7); return new; end $$;
      create trigger wait before insert on checkpoints for each row
        when (new.metadata ->> 'source' = 'loop') execute function wait()`);
    const lock = await pool.connect();
    await lock.query("select pg_advisory_lock(7)");
    await host.startWorker();
    const threadId = await host.thread();
    const run = await host.create(threadId, { input: { log: ["asked"] } });
    const waiting = "select from pg_locks where locktype = 'advisory' and objid = 7 and not granted";
    await expect.poll(async () => (await pool.query(waiting)).rowCount).toBe(1);
    await host.runs.cancel(localPrincipal, { threadId, runId: run.run_id }, { action });
    for (let i = 0; i < 300; i += 1) await pool.query("select"); // who does not wait has read by then
    await lock.query("select pg_advisory_unlock(7)");
    lock.release();
    await join(host, run);
    const { values } = await threads.state(localPrincipal, { threadId });
    expect((await host.threadRow(threadId))["values"]).toEqual(values);
  },
);
