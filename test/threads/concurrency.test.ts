/** What happens to a thread when several hands reach for it at once. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { FencedSaver } from "../../checkpoints/fenced-saver.ts";
import { Saver } from "../../checkpoints/saver.ts";
import { createPool, transaction } from "../../db/pool.ts";
import { ThreadId } from "../../lib/ids.ts";
import { localPrincipal } from "../../lib/principal.ts";
import { createThreads } from "../../runs/threads/threads.ts";
import { takeIdleThread } from "../../runs/threads/update-state.ts";
import { silent } from "../support/database.ts";
import { refusal, type World, world } from "./support.ts";

let w: World;
beforeAll(async () => {
  w = await world();
});
afterAll(() => w[Symbol.asyncDispose]());

const count = async (table: string, threadId: string): Promise<number> => {
  const { rows } = await w.db.pool.query(`select count(*)::int as n from ${table} where thread_id::text = $1`, [
    threadId,
  ]);
  return rows[0].n;
};

test("an edit waits for no run: it is refused while one is pending or running", async () => {
  const threadId = await w.threadAfter("steps", { count: 1 });
  await w.createRun(threadId, { assistant_id: "steps" });
  const edit = () => refusal(w.client.threads.updateState(threadId, { values: { count: 2 } }));
  expect(await edit()).toBe("409 thread_busy");
  expect(await refusal(w.client.threads.patchState(threadId, { a: 1 }))).toBe("409 thread_busy");
  const [run] = (await w.claim()).filter((claimed) => claimed.thread_id === threadId);
  expect(run?.epoch).toBe("1");
  expect(await edit()).toBe("409 thread_busy");
  // A refused edit must not have fenced the run off.
  const { rows } = await w.db.pool.query("select epoch from thread_owner where thread_id = $1", [threadId]);
  expect(rows).toEqual([{ epoch: "1" }]);
});

test("a run that is claimed during an edit wins, and the edit changes nothing", async () => {
  const threadId = await w.threadAfter("steps", { count: 1 });
  const before = await w.client.threads.getState(threadId);
  const graph = await w.graphs.get("steps")!.resolve({});
  const overtaken = {
    ...w.graphs.get("steps")!,
    // The graph is asked for its update after the edit has taken the thread.
    resolve: async () => ({
      ...graph,
      getSubgraphsAsync: graph.getSubgraphsAsync.bind(graph),
      getState: graph.getState.bind(graph),
      updateState: async (...args: Parameters<typeof graph.updateState>) => {
        await w.createRun(threadId, { assistant_id: "steps" });
        await w.claim();
        return graph.updateState(...args);
      },
    }),
  };
  const threads = createThreads({ pool: w.db.pool, graphs: new Map([["steps", overtaken]]) });
  const edit = threads.updateState(localPrincipal, { threadId, values: { count: 2 }, as_node: "a" });
  await expect(edit).rejects.toMatchObject({ code: "thread_busy" });
  expect(await w.client.threads.getState(threadId)).toEqual(before);
  expect(await w.client.threads.get(threadId)).toMatchObject({ status: "busy" });
});

test("a run that is only created during an edit starts from the edited state", async () => {
  const threadId = await w.threadAfter("steps", { count: 1 });
  const graph = await w.graphs.get("steps")!.resolve({});
  const joined = {
    ...w.graphs.get("steps")!,
    resolve: async () => ({
      ...graph,
      getState: graph.getState.bind(graph),
      updateState: async (...args: Parameters<typeof graph.updateState>) => {
        await w.createRun(threadId, { assistant_id: "steps" });
        return graph.updateState(...args);
      },
    }),
  };
  const threads = createThreads({ pool: w.db.pool, graphs: new Map([["steps", joined]]) });
  await threads.updateState(localPrincipal, { threadId, values: { count: 2 }, as_node: "a" });
  expect(await w.client.threads.getState(threadId)).toMatchObject({ values: { count: 2 } });
  // The run is live, so the thread is busy; what it rests on when the run is gone is the edit.
  expect(await w.client.threads.get(threadId)).toMatchObject({ status: "busy", values: { count: 2 } });
});

test.each([
  ["have been replayed", "a", { count: 5 }],
  ["could not be replayed", "absent", null],
])("nobody finds a thread half-filled: who begins a run on it waits until its updates %s", async (...row) => {
  const [, asNode, values] = row;
  const threadId = ThreadId.parse(randomUUID());
  const graph = await w.graphs.get("steps")!.resolve({});
  let begun: Promise<unknown> = Promise.resolve();
  const watched = {
    ...w.graphs.get("steps")!,
    resolve: async () => ({
      ...graph,
      getSubgraphsAsync: graph.getSubgraphsAsync.bind(graph),
      getState: graph.getState.bind(graph),
      bulkUpdateState: async (...[config, steps]: Parameters<typeof graph.bulkUpdateState>) => {
        await graph.bulkUpdateState(config, steps.slice(0, 1));
        expect(await refusal(w.client.threads.get(threadId))).toBe("404 thread_not_found");
        begun = w.createRun(threadId, { assistant_id: "steps", if_not_exists: "create" });
        await w.untilWaiting(1);
        return graph.bulkUpdateState(config, steps.slice(1));
      },
    }),
  };
  const threads = createThreads({ pool: w.db.pool, graphs: new Map([["steps", watched]]) });
  const body = { thread_id: threadId, metadata: { graph_id: "steps" } };
  const supersteps = ["__input__", asNode].map((as_node) => ({ updates: [{ values: { count: 5 }, as_node }] }));
  const creation = threads.create(localPrincipal, { ...body, supersteps });
  if (values) expect(await creation).toMatchObject({ values });
  else await expect(creation).rejects.toMatchObject({ code: "invalid_input" });
  await begun;
  expect(await count("runs", threadId)).toBe(1);
  expect((await w.threads.get(localPrincipal, threadId)).values).toEqual(values && expect.objectContaining(values));
});

test("what was to be replayed and was undone counts for nothing when its thread is made again", async () => {
  const thread_id = ThreadId.parse(randomUUID());
  const log = Array.from({ length: 20 }, (_, n) => `${n} ${"long enough to be stored in pieces ".repeat(40)}`);
  const steps = (...nodes: string[]) =>
    nodes.map((as_node) => ({ updates: [{ values: as_node === "__input__" ? { count: 5 } : { log }, as_node }] }));
  const create = (supersteps: ReturnType<typeof steps>) =>
    w.threads.create(localPrincipal, { thread_id, metadata: { graph_id: "steps" }, supersteps });
  await expect(create(steps("__input__", "a", "absent"))).rejects.toMatchObject({ code: "invalid_input" });
  await create(steps("__input__", "a"));
  const stranger = createPool({ ...w.db.connection, max: 1, name: "stranger", log: silent });
  const stored = await new Saver(stranger).getTuple({ configurable: { thread_id } });
  await stranger.end();
  expect(stored?.checkpoint.channel_values).toMatchObject({ log });
});

test("a thread that is made from updates is on disk when its maker hears of it", async () => {
  await w.db.pool.query(`
    create table seen (setting text);
    create function see() returns trigger language plpgsql as
      $$ begin insert into seen values (current_setting('synchronous_commit')); return null; end $$;
    create constraint trigger see after insert on threads deferrable initially deferred for each row execute function see();
    do $$ begin execute format('alter database %I set synchronous_commit = on', current_database()); end $$`);
  const pool = createPool({ ...w.db.connection, max: 1, name: "test", log: silent }); // a session from here on
  const supersteps = ["__input__", "a"].map((as_node) => ({ updates: [{ values: { count: 5 }, as_node }] }));
  await createThreads({ pool, graphs: w.graphs }).create(localPrincipal, {
    metadata: { graph_id: "steps" },
    supersteps,
  });
  await pool.end();
  const { rows } = await w.db.pool.query("with seen as (delete from seen returning setting) select setting from seen");
  await w.db.pool.query("drop trigger see on threads; drop function see; drop table seen");
  expect(rows).toEqual([{ setting: "on" }]);
});

test("the graph that reads a state is built with the configuration of the thread's runs", async () => {
  const { thread_id } = await w.client.threads.create();
  await w.createRun(thread_id, { assistant_id: "steps", config: { configurable: { model: "small" } } });
  const seen: unknown[] = [];
  const built = {
    ...w.graphs.get("steps")!,
    resolve: async (config: object) => {
      seen.push(config);
      return w.graphs.get("steps")!.resolve(config);
    },
  };
  const threads = createThreads({ pool: w.db.pool, graphs: new Map([["steps", built]]) });
  await threads.state(localPrincipal, { threadId: ThreadId.parse(thread_id) });
  expect(seen).toEqual([{ configurable: { model: "small" } }]);
});

test("of two edits at the same moment the later one fences the earlier one off", async () => {
  const threadId = await w.threadAfter("steps", { count: 1 });
  const early = await takeIdleThread(w.db.pool, threadId);
  await w.client.threads.updateState(threadId, { values: { count: 2 }, asNode: "a" });
  const graph = await w.graphs.get("steps")!.resolve({});
  const config = {
    configurable: { thread_id: threadId, __pregel_checkpointer: new FencedSaver(w.db.pool, early) },
  };
  await expect(graph.updateState(config, { count: 3 }, "a")).rejects.toMatchObject({ code: "lease_lost" });
  expect(await w.client.threads.getState(threadId)).toMatchObject({ values: { count: 2 } });
});

test("deleting a thread ends its run, and what the run's worker still writes lands nowhere", async () => {
  const threadId = await w.threadAfter("steps", { count: 1 });
  await w.createRun(threadId, { assistant_id: "steps" });
  const [run] = (await w.claim()).filter((claimed) => claimed.thread_id === threadId);
  const told: string[] = [];
  const { pool } = w.db;
  await createThreads({ pool, graphs: w.graphs, onRunDeleted: (id) => told.push(id) }).delete(localPrincipal, threadId);
  expect(told).toEqual([run?.run_id]);

  const zombie = new FencedSaver(pool, { thread_id: threadId, epoch: run!.epoch });
  const graph = await w.graphs.get("steps")!.resolve({});
  const config = { configurable: { thread_id: threadId, __pregel_checkpointer: zombie } };
  await expect(graph.updateState(config, { count: 3 }, "a")).rejects.toMatchObject({ code: "lease_lost" });
  for (const table of ["checkpoints", "checkpoint_blobs", "checkpoint_writes", "threads", "thread_owner", "runs"]) {
    expect(await count(table, threadId), table).toBe(0);
  }
  expect(await refusal(w.client.threads.delete(threadId))).toBe("404 thread_not_found");
});

test("a write that is under way when its thread is deleted goes with it", async () => {
  const threadId = await w.threadAfter("steps", { count: 1 });
  const { pool } = w.db;
  const writer = await pool.connect();
  try {
    await writer.query("begin");
    await writer.query("select from thread_owner where thread_id = $1 for share", [threadId]);
    await writer.query(
      "insert into checkpoints (thread_id, checkpoint_ns, checkpoint_id, checkpoint) values ($1, '', 'late', '{}')",
      [threadId],
    );
    const deletion = w.client.threads.delete(threadId);
    await w.untilWaiting(1);
    // It refers to the thread's row, which the deletion holds while it waits for this transaction.
    await writer.query("insert into effects (thread_id, key, run_id, epoch, name) values ($1, 'k', $1, 0, 'mail')", [
      threadId,
    ]);
    await writer.query("commit");
    await deletion;
  } finally {
    writer.release();
  }
  expect([await count("checkpoints", threadId), await count("effects", threadId)]).toEqual([0, 0]);
});

test("claiming a run and deleting its thread do not lock each other out", async () => {
  const threadId = await w.threadAfter("steps", { count: 1 });
  await w.createRun(threadId, { assistant_id: "steps" });
  const { pool } = w.db;
  let deletion: Promise<unknown> | undefined;
  await transaction(pool, async (tx) => {
    // What a claim holds between its two locks.
    await tx.query("select from runs where thread_id = $1 for update", [threadId]);
    deletion = w.client.threads.delete(threadId);
    await w.untilWaiting(1);
    await tx.query("update thread_owner set epoch = epoch + 1 where thread_id = $1", [threadId]);
  });
  await deletion;
  expect(await count("threads", threadId)).toBe(0);
});

test("a thread that is busy is copied as it is at that moment, without its runs", async () => {
  const threadId = await w.threadAfter("steps", { count: 1 });
  await w.createRun(threadId, { assistant_id: "steps" });
  await w.claim();
  const copy = await w.client.threads.copy(threadId);
  // The original's row has no values yet: they come with the end of its run.
  expect((await w.client.threads.get(threadId)).values).toBeNull();
  expect(copy).toMatchObject({ status: "idle", values: { log: ["a", "b"] } });
  expect(await count("runs", copy.thread_id)).toBe(0);
  await w.client.threads.updateState(copy.thread_id, { values: { count: 9 }, asNode: "a" });
  await w.createRun(copy.thread_id, { assistant_id: "steps" });
  expect((await w.claim()).map((run) => run.thread_id)).toEqual([copy.thread_id]);
});

test("a copy waits for the write that is under way on its source", async () => {
  const threadId = await w.threadAfter("steps", { count: 1 });
  const { pool } = w.db;
  const writer = await pool.connect();
  try {
    await writer.query("begin");
    await writer.query("select from thread_owner where thread_id = $1 for share", [threadId]);
    const copying = w.threads.copy(localPrincipal, ThreadId.parse(threadId));
    await w.untilWaiting(1);
    await writer.query("update checkpoints set metadata = metadata || '{\"late\": true}' where thread_id = $1", [
      threadId,
    ]);
    await writer.query("commit");
    const { thread_id } = await copying;
    const history = await w.client.threads.getHistory(thread_id);
    expect(history.every(({ metadata }) => metadata?.["late"] === true)).toBe(true);
  } finally {
    writer.release();
  }
});
