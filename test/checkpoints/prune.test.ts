/** What pruning keeps, with graphs that need more than their newest checkpoint. */
import { Annotation, Command, DeltaChannel, interrupt, StateGraph } from "@langchain/langgraph";
import { emptyCheckpoint, uuid6 } from "@langchain/langgraph-checkpoint";
import type pg from "pg";
import { expect, test } from "vitest";
import { pruneSupersededWrites, pruneThread } from "../../checkpoints/prune.ts";
import { pendingQuestions } from "../../checkpoints/questions.ts";
import { Saver } from "../../checkpoints/saver.ts";
import { transaction } from "../../db/pool.ts";
import { testDatabase } from "../support/database.ts";
import { asking, count, gather, nested, newThread, putList, runOn, saying, State } from "./support.ts";

const prune = (pool: pg.Pool, threadId: string) => transaction(pool, (tx) => pruneThread(tx, threadId, { keep: 1 }));
const pruneWrites = (pool: pg.Pool, threadId: string) => transaction(pool, (tx) => pruneSupersededWrites(tx, threadId));
const list = (pool: pg.Pool, thread_id: string) => gather(new Saver(pool).list({ configurable: { thread_id } }));

test("a question that waits in a subgraph can be answered after a prune, and its finished siblings are gone", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const graph = nested(asking("one?", "two?"));
  await nested(saying("a", "b")).invoke({}, runOn(db.pool, owner).config);
  await graph.invoke({ said: ["input"] }, runOn(db.pool, owner).config);
  const [question] = await pendingQuestions(new Saver(db.pool), { thread_id: owner.thread_id });
  const state = await graph.getState(runOn(db.pool, owner).config, { subgraphs: true });

  for (const step of [prune, pruneWrites]) await step(db.pool, owner.thread_id);

  expect(await pendingQuestions(new Saver(db.pool), { thread_id: owner.thread_id })).toEqual([question]);
  expect(await graph.getState(runOn(db.pool, owner).config, { subgraphs: true })).toEqual(state);
  expect(await list(db.pool, owner.thread_id)).toHaveLength(2);
  await graph.invoke(new Command({ resume: 1 }), runOn(db.pool, owner).config);
  const outcome = await graph.invoke(new Command({ resume: 2 }), runOn(db.pool, owner).config);
  expect(outcome).toEqual({ said: expect.arrayContaining(["input", 1, 2]) });
});

test("a subgraph with a memory of its own keeps it, though it did not run lately", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const child = new StateGraph(State)
    .addNode("count", ({ said }) => ({ said: [said.length] }))
    .addEdge("__start__", "count")
    .compile({ checkpointer: true });
  await nested(child).invoke({ said: ["one"] }, runOn(db.pool, owner).config);
  await saying("x", "y", "z", "w").invoke({}, runOn(db.pool, owner).config);

  await prune(db.pool, owner.thread_id);

  const kept = await list(db.pool, owner.thread_id);
  expect(kept.map(({ config }) => config.configurable?.["checkpoint_ns"])).toEqual(["", "child"]);
  expect(kept[1]?.checkpoint.channel_values).toMatchObject({ said: ["one", 1] });
});

test("the tips of all branches stay, and a run goes on from each of them", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const { config } = runOn(db.pool, owner);
  const graph = saying("a", "b", "c");
  await graph.invoke({}, config);
  const [tip, , , early] = await gather(graph.getStateHistory(config));
  const forked = await graph.updateState(
    { configurable: { ...config.configurable, ...early?.config.configurable } },
    { said: ["fork"] },
  );

  await prune(db.pool, owner.thread_id);

  expect(await list(db.pool, owner.thread_id)).toHaveLength(2);
  const at = (other: { configurable?: object }) => ({
    ...config,
    configurable: { ...config.configurable, ...other.configurable },
  });
  expect((await graph.getState(at(tip!.config))).values).toEqual(tip?.values);
  expect(await graph.invoke(null, at(forked))).toEqual({ said: ["fork", "b", "c"] });
});

test("a channel that is kept as its writes is read back, also after more steps and another prune", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const builder = new StateGraph(
    Annotation.Root({
      log: () =>
        new DeltaChannel<string[], string[]>((log, writes) => [...log, ...writes.flat()], {
          initialValueFactory: () => [],
          snapshotFrequency: 5,
        }),
    }),
  )
    .addNode("add", ({ log }) => ({ log: [`${log.length}`] }))
    .addEdge("__start__", "add");
  const graph = builder.compile();
  // The library looks for the writes of such a channel with the saver that a graph is compiled with.
  const reader = builder.compile({ checkpointer: new Saver(db.pool) });

  for (let turn = 0; turn < 4; turn += 1) {
    const before = await graph.invoke({ log: ["in"] }, runOn(db.pool, owner).config);
    for (const step of [pruneWrites, prune]) await step(db.pool, owner.thread_id);
    expect((await reader.getState({ configurable: { thread_id: owner.thread_id } })).values).toEqual(before);
    expect(before.log).toHaveLength(2 * (turn + 1));
  }

  expect(await count(db.pool, "checkpoints", owner.thread_id)).toBeLessThan(12);
});

test("pruned writes are those that a checkpoint has taken in; questions and answers stay", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const { config } = runOn(db.pool, owner);
  const graph = new StateGraph(State)
    .addNode("first", () => ({ said: ["first"] }))
    .addNode("ask", () => ({ said: [interrupt("?")] }))
    .addEdge("__start__", "first")
    .addEdge("first", "ask")
    .compile();
  await graph.invoke({}, config);
  await graph.invoke(new Command({ resume: "yes" }), config);
  const before = await list(db.pool, owner.thread_id);

  await pruneWrites(db.pool, owner.thread_id);

  const after = await list(db.pool, owner.thread_id);
  expect(after.map(({ checkpoint }) => checkpoint)).toEqual(before.map(({ checkpoint }) => checkpoint));
  const written = after.flatMap(({ pendingWrites = [] }) => pendingWrites.map(([, channel]) => channel));
  expect(new Set(written)).toEqual(new Set(["__interrupt__", "__resume__", "said"]));
  expect(after.flatMap(({ pendingWrites = [] }) => pendingWrites)).toHaveLength(written.length);
});

test("a channel that is kept as its writes is read back where an edit is the newest", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const log = () =>
    new DeltaChannel<string[], string[]>((all, writes) => [...all, ...writes.flat()], {
      initialValueFactory: () => [],
      snapshotFrequency: 50,
    });
  const builder = new StateGraph(Annotation.Root({ log, other: Annotation<string> }))
    .addNode("add", () => ({ log: ["added"] }))
    .addEdge("__start__", "add");
  const saver = new Saver(db.pool);
  const graph = builder.compile({ checkpointer: saver });
  const config = { configurable: { thread_id: owner.thread_id } };
  await graph.invoke({ log: ["in"], other: "given" }, config);
  await graph.updateState(config, { other: "edited" });
  for (const step of [pruneWrites, prune]) {
    await step(db.pool, owner.thread_id);
    expect((await graph.getState(config)).values).toEqual({ log: ["in", "added"], other: "edited" });
  }
});

test("what a task wrote stays whole, though no value of a channel holds it", async () => {
  await using db = await testDatabase();
  const { thread_id } = await newThread(db.pool);
  const saver = new Saver(db.pool);
  const said = Array.from({ length: 5 }, (_, i) => `This is what was said as number ${i}. `.repeat(10));
  const config = await putList(saver, { configurable: { thread_id, checkpoint_ns: "" } }, ["other"]);
  await saver.putWrites(config, [["list", said]], "task");

  for (const step of [pruneWrites, prune]) await step(db.pool, thread_id);

  const read = await new Saver(db.pool).getTuple(config);
  expect(read?.pendingWrites).toEqual([["task", "list", said]]);
});

test("what an early format keeps with the writes of the step before, tasks that were sent, stays with them", async () => {
  await using db = await testDatabase();
  const { thread_id } = await newThread(db.pool);
  const saver = new Saver(db.pool);
  const metadata = { source: "loop", step: 1, parents: {} } as const;
  const before = await putList(saver, { configurable: { thread_id, checkpoint_ns: "" } }, ["a"]);
  await saver.putWrites(
    before,
    [
      ["__pregel_tasks", { sent: "this" }],
      ["list", ["b"]],
    ],
    "task",
  );
  const early = await saver.put(before, { ...emptyCheckpoint(), v: 3, id: uuid6(0) }, metadata, {});

  await pruneWrites(db.pool, thread_id);

  const read = await new Saver(db.pool).getTuple(early);
  expect(read?.checkpoint.channel_values["__pregel_tasks"]).toEqual([{ sent: "this" }]);
  expect((await new Saver(db.pool).getTuple(before))?.pendingWrites).toHaveLength(1);
});
