import { randomUUID } from "node:crypto";
import { inspect } from "node:util";
import { StateGraph } from "@langchain/langgraph";
import { emptyCheckpoint, uuid6 } from "@langchain/langgraph-checkpoint";
import { expect, test } from "vitest";
import { FencedSaver } from "../../checkpoints/fenced-saver.ts";
import { pruneThread } from "../../checkpoints/prune.ts";
import { pendingQuestions } from "../../checkpoints/questions.ts";
import { readStandings } from "../../checkpoints/read-parked.ts";
import { Saver } from "../../checkpoints/saver.ts";
import { transaction } from "../../db/pool.ts";
import { testDatabase } from "../support/database.ts";
import { asking, count, gather, lockWaiters, nested, newThread, runOn, saying, State } from "./support.ts";

const metadata = { source: "loop", step: 1, parents: {} } as const;
const tables = ["checkpoints", "checkpoint_blobs", "checkpoint_writes"];

test("a worker that lost the thread writes nothing, in no namespace", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const zombie = new FencedSaver(db.pool, owner);
  await db.pool.query("update thread_owner set epoch = epoch + 1 where thread_id = $1", [owner.thread_id]);

  for (const checkpoint_ns of ["", "child:1"]) {
    const config = { configurable: { thread_id: owner.thread_id, checkpoint_ns, checkpoint_id: randomUUID() } };
    const checkpoint = { ...emptyCheckpoint(), channel_values: { a: 1 } };
    await expect(zombie.put(config, checkpoint, metadata, { a: 1 })).rejects.toMatchObject({ code: "lease_lost" });
    await expect(zombie.putWrites(config, [["a", 1]], "task")).rejects.toMatchObject({ code: "lease_lost" });
  }

  for (const table of tables) expect(await count(db.pool, table, owner.thread_id)).toBe(0);
});

test("of many threads that are written at once, one that was lost or is being taken keeps no other from it", async () => {
  await using db = await testDatabase();
  const owners = await Promise.all(Array.from({ length: 12 }, () => newThread(db.pool)));
  const [lost, taken, ...others] = owners.toReversed();
  await db.pool.query("update thread_owner set epoch = epoch + 1 where thread_id = $1", [lost?.thread_id]);
  const taker = await db.pool.connect();
  await taker.query("begin");
  await taker.query("update thread_owner set epoch = epoch + 1 where thread_id = $1", [taken?.thread_id]);

  const puts = owners.map((owner) =>
    new FencedSaver(db.pool, owner).put(
      { configurable: { thread_id: owner.thread_id, checkpoint_ns: "" } },
      { ...emptyCheckpoint(), channel_values: { said: [owner.thread_id] } },
      metadata,
      { said: 1 },
    ),
  );
  const outcomes = Promise.allSettled(puts);
  await Promise.all(puts.filter((_, i) => others.includes(owners[i]!)));
  await taker.query("rollback");
  taker.release();

  const refused = (await outcomes).map((outcome) => outcome.status === "rejected");
  expect(owners.filter((_, i) => refused[i])).toEqual([lost]);
  for (const { thread_id } of owners) {
    expect(await count(db.pool, "checkpoints", thread_id)).toBe(thread_id === lost?.thread_id ? 0 : 1);
  }
});

test("tasks that write the same messages in another order do not wait for each other", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const saver = new FencedSaver(db.pool, owner);
  for (let round = 0; round < 20; round += 1) {
    const messages = Array.from({ length: 200 }, () => ({ text: randomUUID().repeat(10) }));
    const at = (ns: string) => ({
      configurable: { thread_id: owner.thread_id, checkpoint_ns: ns, checkpoint_id: "c" },
    });
    await Promise.all([
      saver.putWrites(at("left:1"), [["said", messages]], `left ${round}`),
      saver.putWrites(at("right:1"), [["said", messages.toReversed()]], `right ${round}`),
    ]);
  }
  expect(await count(db.pool, "checkpoint_items", owner.thread_id)).toBe(20 * 200);
});

test("a write that waits for a take-over under way is refused when the take-over commits", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const zombie = new FencedSaver(db.pool, owner);
  const taker = await db.pool.connect();
  await taker.query("begin");
  await taker.query("update thread_owner set epoch = epoch + 1 where thread_id = $1", [owner.thread_id]);
  const config = { configurable: { thread_id: owner.thread_id, checkpoint_ns: "", checkpoint_id: randomUUID() } };

  const below = { configurable: { ...config.configurable, checkpoint_ns: "child:1" } }; // else they wait for the put
  const put = zombie.put(config, { ...emptyCheckpoint(), channel_values: { a: 1 } }, metadata, { a: 1 });
  const writes = zombie.putWrites(below, [["a", 1]], "task");
  const outcomes = Promise.allSettled([put, writes]);
  await expect.poll(() => lockWaiters(db.pool)).toBe(2);
  await taker.query("commit");
  taker.release();

  for (const outcome of await outcomes)
    expect(outcome).toMatchObject({ status: "rejected", reason: { code: "lease_lost" } });
  for (const table of tables) expect(await count(db.pool, table, owner.thread_id)).toBe(0);
});

test("a write that is refused while another task of the step is at work ends the run, and not the process", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const refused = Promise.withResolvers<void>();
  const onUnhandled = (reason: unknown): void => refused.reject(new Error("unhandled", { cause: reason }));
  process.on("unhandledRejection", onUnhandled);
  const { config, saver } = runOn(db.pool, owner);
  const putWrites = saver.putWrites.bind(saver);
  saver.putWrites = (...call) => {
    const put = putWrites(...call);
    put.catch(() => setImmediate(refused.resolve)); // node looks for the unhandled ones in between
    return put;
  };
  const graph = new StateGraph(State)
    .addNode("quick", async () => {
      await db.pool.query("update thread_owner set epoch = epoch + 1 where thread_id = $1", [owner.thread_id]);
      return { said: ["quick"] };
    })
    .addNode("slow", async () => {
      await refused.promise;
      return { said: ["slow"] };
    })
    .addEdge("__start__", "quick")
    .addEdge("__start__", "slow")
    .compile();
  await expect(graph.invoke({ said: [] }, config)).rejects.toMatchObject({ code: "lease_lost" });
  process.off("unhandledRejection", onUnhandled);
});

test("a take-over waits for a write under way, which lands", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const row = [owner.thread_id, "", "c", "task", 0, "a", "json", Buffer.from("0")];
  const blocker = await db.pool.connect();
  await blocker.query("begin");
  await blocker.query("insert into checkpoint_writes values ($1, $2, $3, $4, $5, $6, $7, $8)", row);
  const config = { configurable: { thread_id: owner.thread_id, checkpoint_ns: "", checkpoint_id: "c" } };

  const write = new FencedSaver(db.pool, owner).putWrites(config, [["a", 1]], "task");
  await expect.poll(() => lockWaiters(db.pool)).toBe(1);
  const takeOver = db.pool.query("update thread_owner set epoch = epoch + 1 where thread_id = $1", [owner.thread_id]);
  await expect.poll(() => lockWaiters(db.pool)).toBe(2);
  await blocker.query("rollback");
  blocker.release();
  await Promise.all([write, takeOver]);

  expect(await count(db.pool, "checkpoint_writes", owner.thread_id)).toBe(1);
});

test("a run cannot write to another thread", async () => {
  await using db = await testDatabase();
  const [own, other] = [await newThread(db.pool), await newThread(db.pool)];
  const saver = new FencedSaver(db.pool, own);
  const config = { configurable: { thread_id: other.thread_id, checkpoint_ns: "", checkpoint_id: "c" } };

  await expect(saver.put(config, emptyCheckpoint(), metadata, {})).rejects.toMatchObject({ code: "lease_lost" });
  await expect(saver.putWrites(config, [["a", 1]], "task")).rejects.toMatchObject({ code: "lease_lost" });
});

test("who closes a saver has what was under way on the thread, and a graph that was left behind writes nothing more", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const saver = new FencedSaver(db.pool, owner);
  const { thread_id } = owner;
  const config = { configurable: { thread_id, checkpoint_ns: "", checkpoint_id: "c" } };
  const put = () => saver.put(config, { ...emptyCheckpoint(), channel_values: { a: 1 } }, metadata, { a: 1 });
  const underWay = [put(), saver.putWrites(config, [["a", 1]], "under way")];

  await saver.close();

  const stored = () => Promise.all(tables.map((table) => count(db.pool, table, thread_id)));
  expect(await stored()).toEqual([1, 1, 1]);
  await Promise.all(underWay);
  for (const late of [put(), saver.putWrites(config, [["a", 2]], "late")])
    await expect(late).rejects.toMatchObject({ code: "lease_lost" });
  expect(await stored()).toEqual([1, 1, 1]);
});

test("a saver shows nothing of what it holds", async () => {
  await using db = await testDatabase();
  const saver = new FencedSaver(db.pool, { thread_id: "the-thread", epoch: "4711" });

  expect(JSON.stringify({ saver })).toBe('{"saver":"[FencedSaver]"}');
  expect(inspect(saver)).not.toContain("4711");
});

test("the newest checkpoint is the one stored last, though its writer's clock was five seconds behind", async () => {
  await using db = await testDatabase();
  const saver = new Saver(db.pool);
  const configurable = { thread_id: randomUUID(), checkpoint_ns: "" };
  const early = { ...emptyCheckpoint(), id: uuid6(0) };
  const ahead = { ...emptyCheckpoint(), id: aheadOf(early.id) };

  const first = await saver.put({ configurable }, ahead, metadata, {});
  await saver.put(first, early, metadata, {});
  const listed = await gather(saver.list({ configurable }));
  const before = await gather(saver.list({ configurable }, { before: { configurable: { checkpoint_id: early.id } } }));

  expect(early.id < ahead.id).toBe(true);
  expect((await saver.getTuple({ configurable }))?.checkpoint.id).toBe(early.id);
  expect(listed.map(({ checkpoint }) => checkpoint.id)).toEqual([early.id, ahead.id]);
  expect(before.map(({ checkpoint }) => checkpoint.id)).toEqual([ahead.id]);
});

test("whoever asks for the newest gets that one: open questions, where a thread stands, delta channels, a prune", async () => {
  await using db = await testDatabase();
  const saver = new Saver(db.pool);
  const { thread_id } = await newThread(db.pool);
  const configurable = { thread_id, checkpoint_ns: "" };
  const early = { ...emptyCheckpoint(), id: uuid6(0) };
  const ahead = { ...emptyCheckpoint(), id: aheadOf(early.id) };
  const first = await saver.put({ configurable }, ahead, metadata, {});
  await saver.putWrites(first, [["log", "before"]], "task");
  const second = await saver.put(first, early, metadata, {});
  await saver.putWrites(second, [["__interrupt__", { id: "asked", value: "?" }]], "task");

  expect(await pendingQuestions(saver, { thread_id })).toMatchObject([{ value: "?" }]);
  const standing = await readStandings(saver, [{ thread_id }]);
  expect(standing.get(thread_id)?.root.checkpoint.id).toBe(early.id);
  const history = await saver.getDeltaChannelHistory({ config: { configurable }, channels: ["log"] });
  expect(history["log"]?.writes).toEqual([["task", "log", "before"]]);
  await transaction(db.pool, (tx) => pruneThread(tx, thread_id, { keep: 1 }));
  const kept = await gather(saver.list({ configurable }));
  expect(kept.map(({ checkpoint }) => checkpoint.id)).toEqual([early.id]);
});

test("a fork has values of its own where the branches have stored equally many", async () => {
  await using db = await testDatabase();
  const { config } = runOn(db.pool, await newThread(db.pool));
  const at = (other: { configurable?: object }) => ({
    ...config,
    configurable: { ...config.configurable, ...other.configurable },
  });
  const graph = saying("a", "b", "c");
  await graph.invoke({}, config);
  const history = await gather(graph.getStateHistory(config));
  const afterFirst = history.find(({ values }) => (values as { said: string[] }).said.length === 1);

  const forked = await graph.updateState(at(afterFirst!.config), { said: ["fork"] });
  await graph.invoke(null, at(forked));

  expect((await graph.getState(config)).values).toEqual({ said: ["a", "fork", "c"] });
  expect((await graph.getState(at(history[0]!.config))).values).toEqual({ said: ["a", "b", "c"] });
});

test("text that Postgres refuses does not end a run and comes back as it was", async () => {
  await using db = await testDatabase();
  const { config } = runOn(db.pool, await newThread(db.pool));
  const nasty = "nul \0 and half a pair \ud83d";
  const graph = saying(nasty);

  await graph.invoke({}, { ...config, metadata: { note: nasty, [nasty]: 1 } });

  const state = await graph.getState(config);
  expect(state.values).toEqual({ said: [nasty] });
  expect(state.metadata).toMatchObject({ note: "nul  and half a pair \ufffd" });
});

test("stored metadata names the run in all namespaces, and holds no internal key", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const { config, runId } = runOn(db.pool, owner);

  await nested(asking("?")).invoke({}, { ...config, metadata: { mine: true, __secret: 1 } });

  const { rows } = await db.pool.query<{ checkpoint_ns: string; metadata: Record<string, unknown> }>(
    "select checkpoint_ns, metadata from checkpoints where thread_id = $1",
    [owner.thread_id],
  );
  expect(new Set(rows.map(({ checkpoint_ns }) => checkpoint_ns)).size).toBe(2);
  for (const { metadata: stored } of rows) {
    expect(stored).toMatchObject({ run_id: runId, thread_id: owner.thread_id, mine: true });
    expect(Object.keys(stored).filter((key) => key.startsWith("__"))).toEqual([]);
  }
});

test("a run that starts again with the same input goes on, and does not take its input twice", async () => {
  await using db = await testDatabase();
  const { config } = runOn(db.pool, await newThread(db.pool));
  const graph = saying("in", "a", "b");
  await expect(graph.invoke({ said: ["in"] }, { ...config, recursionLimit: 1 })).rejects.toThrow(/recursion/i);

  await graph.invoke({ said: ["in"] }, config);

  expect((await graph.getState(config)).values).toEqual({ said: ["in", "a", "b"] });
});

/** An id as a clock five seconds ahead would have made it. */
function aheadOf(id: string): string {
  const [high = "", mid = ""] = id.split("-");
  const later = BigInt(`0x${high}${mid}`) + BigInt(Math.round(5e7 / 4096));
  const hex = later.toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}${id.slice(13)}`;
}
