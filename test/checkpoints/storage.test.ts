/** How much a step says to the database, and what holds when others use the same tables. */
import { randomUUID } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { StateGraph } from "@langchain/langgraph";
import { emptyCheckpoint, uuid6 } from "@langchain/langgraph-checkpoint";
import { PostgresSaver } from "@langchain/langgraph-checkpoint-postgres";
import fc from "fast-check";
import type pg from "pg";
import { expect, test } from "vitest";
import { pruneThread } from "../../checkpoints/prune.ts";
import { Saver } from "../../checkpoints/saver.ts";
import { deleteRunCheckpoints, deleteThreadCheckpoints } from "../../checkpoints/thread-data.ts";
import { createPool, transaction } from "../../db/pool.ts";
import { silent, type TestDatabase, testDatabase, testServer } from "../support/database.ts";
import { count, gather, lockWaiters, newThread, putList, runOn, saying, State } from "./support.ts";

type Tx = Parameters<typeof deleteThreadCheckpoints>[0];

const metadata = { source: "loop", step: 1, parents: {} } as const;
const long = (n: number) => `This is what was said as number ${n}. `.repeat(10);
const conversation = (length: number) => Array.from({ length }, (_, i) => long(i));

/** Counts the statements of the pool's connections. */
function counted(pool: pg.Pool): { statements: number } {
  const seen = { statements: 0 };
  pool.on("acquire", (client) => {
    if (Object.hasOwn(client, "counted")) return;
    const query = client.query.bind(client) as (...args: unknown[]) => unknown;
    client.query = ((...args: unknown[]) => {
      seen.statements += 1;
      return query(...args);
    }) as typeof client.query;
    Object.assign(client, { counted: true });
  });
  return seen;
}

async function listOf(db: TestDatabase, config: { configurable?: object }): Promise<unknown> {
  return (await new Saver(db.pool).getTuple(config))?.checkpoint.channel_values["list"];
}

test("a step is two statements, and loading a long history is one", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const words = conversation(60);
  await saying(...words.slice(0, 50)).invoke({}, { ...runOn(db.pool, owner).config, recursionLimit: 100 });
  const { config, saver } = runOn(db.pool, owner);
  const seen = counted(db.pool);

  await saver.getTuple(config);
  expect(seen.statements).toBe(1);
  await gather(saver.list(config, { limit: 20 })); // a page
  expect(seen.statements).toBe(2);
  await saying(...words).invoke({ said: [] }, { ...config, recursionLimit: 100 });

  const steps = 10;
  // Besides: the state is loaded, the input is stored and taken in.
  expect(seen.statements).toBeLessThanOrEqual(2 + 2 * steps + 4);
});

test("a run on a thread of the stock saver goes on, and the stock saver reads what is small", async () => {
  await using db = await testDatabase();
  const stock = new PostgresSaver(db.pool);
  const { config } = runOn(db.pool, await newThread(db.pool));
  const at = { configurable: { thread_id: config.configurable.thread_id, __pregel_checkpointer: stock } };
  const graph = saying(...conversation(3), "small");
  await graph.invoke({}, { ...at, recursionLimit: 4 }).catch(() => undefined);

  expect(await graph.invoke(null, config)).toEqual({ said: [...conversation(3), "small"] });

  const { config: other } = runOn(db.pool, await newThread(db.pool));
  await saying("a", "b").invoke({}, other);
  const read = await stock.getTuple({ configurable: { thread_id: other.configurable.thread_id } });
  expect(read?.checkpoint.channel_values).toMatchObject({ said: ["a", "b"] });
});

test("a step waits for the disk once, though its tasks end one after the other", async () => {
  await using server = await testServer();
  const pool = createPool({ ...server.connection, max: 1, name: "test", log: silent });
  /** How often the pool's connection has waited for the disk. */
  const waited = async (): Promise<number> => {
    await pool.query("select pg_stat_force_next_flush()");
    const { rows } = await pool.query<{ fsyncs: string }>(
      "select sum(fsyncs) as fsyncs from pg_stat_get_backend_io(pg_backend_pid()) where object = 'wal'",
    );
    return Number(rows[0]?.fsyncs);
  };
  try {
    const owner = await newThread(pool);
    const before = await waited();
    const isDone = ({ said }: { said: unknown[] }) => (said.length < 40 ? ["left", "right"] : "__end__");
    const graph = new StateGraph(State)
      .addNode("left", ({ said }) => ({ said: [long(said.length)] }))
      .addNode("right", async ({ said }) => {
        await setImmediate();
        await setImmediate();
        return { said: [long(said.length + 1)] };
      })
      .addNode("next", () => ({}))
      .addEdge("__start__", "next")
      .addEdge(["left", "right"], "next")
      .addConditionalEdges("next", isDone)
      .compile();
    await graph.invoke({ said: [] }, { ...runOn(pool, owner).config, recursionLimit: 100 });
    const steps = await count(pool, "checkpoints", owner.thread_id);
    const times = (await waited()) - before;
    expect(steps).toBeGreaterThan(20);
    expect(times).toBeGreaterThan(0);
    expect(times).toBeLessThanOrEqual(steps);
  } finally {
    await pool.end();
  }
});

test("the stock saver refuses a value that is stored in pieces, rather than reading something else", async () => {
  await using db = await testDatabase();
  const config = { configurable: { thread_id: randomUUID(), checkpoint_ns: "" } };
  await putList(new Saver(db.pool), config, conversation(5));

  await expect(new PostgresSaver(db.pool).getTuple(config)).rejects.toThrow(/Unknown serialization type: chunks/);
});

test.each([
  ["deleted", (tx: Tx, id: string) => deleteThreadCheckpoints(tx, id)],
  ["rolled back", (tx: Tx, id: string) => deleteRunCheckpoints(tx, id, "the run")],
])("a value is stored as a whole when the one it would build on was %s meanwhile", async (_, remove) => {
  await using db = await testDatabase();
  const saver = new Saver(db.pool);
  const config = { configurable: { thread_id: randomUUID(), checkpoint_ns: "", run_id: "the run" } };
  await putList(saver, config, conversation(50));
  await transaction(db.pool, (tx) => remove(tx, config.configurable.thread_id));
  expect(await count(db.pool, "checkpoint_items", config.configurable.thread_id)).toBe(0);

  const stored = await putList(saver, config, conversation(51));

  expect(await listOf(db, stored)).toEqual(conversation(51));
});

test("two processes that know different versions of one thread store what each of them puts", async () => {
  await using db = await testDatabase();
  const [here, there] = [new Saver(db.pool), new Saver(db.pool)];
  const config = { configurable: { thread_id: randomUUID(), checkpoint_ns: "" } };
  const first = await putList(here, config, conversation(50));
  await there.getTuple(first);
  const ours = await putList(here, config, [...conversation(50), "ours"]);
  const theirs = await putList(there, config, [...conversation(50), "theirs"]);
  const last = await putList(here, config, [...conversation(50), "ours", "again"]);

  expect(await listOf(db, ours)).toEqual([...conversation(50), "ours"]);
  expect(await listOf(db, theirs)).toEqual([...conversation(50), "theirs"]);
  expect(await listOf(db, last)).toEqual([...conversation(50), "ours", "again"]);
  expect(await listOf(db, first)).toEqual(conversation(50));
});

test("a write waits for a prune under way, and then builds on nothing that it removed", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const { saver, config } = runOn(db.pool, owner);
  const at = { configurable: { ...config.configurable, checkpoint_ns: "" } };
  const base = await putList(saver, at, conversation(50));
  await putList(new Saver(db.pool), at, ["another", "newest"]);
  const pruner = await db.pool.connect();
  await pruner.query("begin");
  await pruner.query("select from thread_owner where thread_id = $1 for no key update", [owner.thread_id]);
  // The tip of a branch would stay.
  await pruner.query("delete from checkpoints where checkpoint_id = $1", [base.configurable?.["checkpoint_id"]]);
  await pruneThread(pruner, owner.thread_id, { keep: 1 });

  const write = putList(saver, at, conversation(51));
  await expect.poll(() => lockWaiters(db.pool)).toBe(1);
  await pruner.query("commit");
  pruner.release();

  expect(await listOf(db, await write)).toEqual(conversation(51));
});

test("a version that was there before is not built on, since it may hold something else", async () => {
  await using db = await testDatabase();
  const [here, there] = [new Saver(db.pool), new Saver(db.pool)];
  const config = { configurable: { thread_id: randomUUID(), checkpoint_ns: "" } };
  const store = (saver: Saver, list: unknown[], version: number) =>
    saver.put(
      config,
      { ...emptyCheckpoint(), id: uuid6(0), channel_values: { list }, channel_versions: { list: version } },
      metadata,
      { list: version },
    );
  await store(here, conversation(50), 1);
  await store(there, ["another", ...conversation(60)], 1); // the first one counts, as in the stock saver

  const last = await store(there, ["another", ...conversation(61)], 2);

  expect(await listOf(db, last)).toEqual(["another", ...conversation(61)]);
});

test("versions of a channel grow, and are equally long, as keys that fill their index are", () => {
  fc.assert(
    fc.property(fc.nat({ max: 1_000_000 }), (current) => {
      const version = Saver.prototype.getNextVersion(current + 0.5);
      expect(Math.floor(version)).toBe(current + 1);
      expect(String(version)).toMatch(/^(?=.{16}$)\d+\.\d+$/);
    }),
    { numRuns: 1_000 },
  );
});

test("a value with more pieces than a statement has room for is stored", async () => {
  await using db = await testDatabase();
  const config = { configurable: { thread_id: randomUUID(), checkpoint_ns: "", checkpoint_id: "c" } };
  const list = Array.from({ length: 5_000 }, (_, i) => `${i} `.repeat(100));
  const saver = new Saver(db.pool);

  await saver.putWrites(config, [["list", list.slice(0, 2_500)]], "task");
  const stored = await putList(saver, config, list);

  expect(await listOf(db, stored)).toEqual(list);
  expect(await count(db.pool, "checkpoint_items", config.configurable.thread_id)).toBe(5_000);
});

test("a message is stored once, though it is in a task's writes and in the list", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  await saying(long(0), long(1), long(2)).invoke({}, runOn(db.pool, owner).config);

  expect(await count(db.pool, "checkpoint_items", owner.thread_id)).toBe(3);
});

test("what a step stores does not grow with the history", async () => {
  await using db = await testDatabase();
  const saver = new Saver(db.pool);
  let config: { configurable?: object } = { configurable: { thread_id: randomUUID(), checkpoint_ns: "" } };
  const stored = async (): Promise<number> => {
    const { rows } = await db.pool.query<{ bytes: number }>(`
      select ((select coalesce(sum(pg_column_size(b.*)), 0) from checkpoint_blobs b)
            + (select coalesce(sum(pg_column_size(i.*)), 0) from checkpoint_items i))::int as bytes`);
    return rows[0]?.bytes ?? 0;
  };
  const marks: number[] = [];
  for (let length = 1; length <= 220; length += 1) {
    if ([20, 60, 180, 220].includes(length)) marks.push(await stored());
    config = await putList(saver, { configurable: config.configurable ?? {} }, conversation(length));
  }
  const [early, late] = [marks[1]! - marks[0]!, marks[3]! - marks[2]!];

  expect(await listOf(db, config)).toEqual(conversation(220));
  expect(late).toBeLessThan(1.5 * early);
});
