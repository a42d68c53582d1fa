import { randomUUID } from "node:crypto";
import { HumanMessage } from "@langchain/core/messages";
import type { RunnableConfig } from "@langchain/core/runnables";
import { interrupt, MessagesDeltaValue, StateGraph, StateSchema, type StateSnapshot } from "@langchain/langgraph";
import { BaseCheckpointSaver, emptyCheckpoint, uuid6 } from "@langchain/langgraph-checkpoint";
import fc from "fast-check";
import type pg from "pg";
import { expect, test, vi } from "vitest";
import { z } from "zod";
import { Saver } from "../../checkpoints/saver.ts";
import type { AnyGraph } from "../../runs/index.ts";
import { withSaver } from "../../runs/with-saver.ts";
import { testDatabase } from "../support/database.ts";
import { newThread, runOn } from "./support.ts";

/** Adds one message a step, `steps` times. */
function talking(steps: number) {
  const State = new StateSchema({ messages: MessagesDeltaValue, count: z.number().default(0) });
  return new StateGraph(State)
    .addNode("say", ({ count }) => ({ messages: [new HumanMessage(`message ${count}`)], count: count + 1 }))
    .addEdge("__start__", "say")
    .addConditionalEdges("say", ({ count }) => (count < steps ? "say" : "__end__"))
    .compile();
}

function contents({ values }: StateSnapshot): unknown[] {
  const { messages } = values as { messages: HumanMessage[] };
  return messages.map(({ content }) => content);
}

async function statements<T>(pool: pg.Pool, work: () => Promise<T>): Promise<{ result: T; count: number }> {
  const query = vi.spyOn(pool, "query");
  try {
    const result = await work();
    return { result, count: query.mock.calls.length };
  } finally {
    query.mockRestore();
  }
}

test("the state of a delta channel is read with two statements after a hundred steps", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const graph = talking(100);
  const { config, saver } = runOn(db.pool, owner);
  await graph.invoke({ messages: [] }, { ...config, recursionLimit: 200 });

  const { result, count } = await statements(db.pool, () =>
    withSaver(graph as unknown as AnyGraph, saver).getState(config),
  );

  expect(contents(result)).toEqual(Array.from({ length: 100 }, (_, step) => `message ${step}`));
  expect(count).toBe(2);
});

test("a snapshot read through a saver in the config has the values of delta channels, of waiting subgraphs too", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const Parent = new StateSchema({ messages: MessagesDeltaValue });
  const asking = new StateGraph(Parent)
    .addNode("note", () => ({ messages: [new HumanMessage("noted")] }))
    .addNode("ask", () => ({ messages: [new HumanMessage(String(interrupt("?")))] }))
    .addEdge("__start__", "note")
    .addEdge("note", "ask")
    .compile();
  const graph = new StateGraph(Parent).addNode("child", asking).addEdge("__start__", "child").compile();
  const { config, saver } = runOn(db.pool, owner);
  await graph.invoke({ messages: [new HumanMessage("hello")] }, config);

  const snapshot = await withSaver(graph, saver).getState(config, { subgraphs: true });

  expect(contents(snapshot)).toEqual(["hello"]);
  expect(contents(snapshot.tasks[0]?.state as StateSnapshot)).toEqual(["hello", "noted"]);
});

test("the history is what the library's own walk over the checkpoints finds, on any tree of forks", async () => {
  await using db = await testDatabase();
  const saver = new Saver(db.pool);
  const step = fc.record({
    parent: fc.nat(),
    seeded: fc.subarray(["a", "b"]),
    writes: fc.array(fc.tuple(fc.constantFrom("t1", "t2", "T3"), fc.constantFrom("a", "b", "c"), fc.integer())),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), fc.nat(), async (steps, at) => {
      const thread_id = randomUUID();
      const configs: RunnableConfig[] = [];
      for (const { parent, seeded, writes } of steps) {
        const versions = Object.fromEntries(seeded.map((channel) => [channel, saver.getNextVersion(undefined)]));
        const values = Object.fromEntries(seeded.map((channel) => [channel, [configs.length]]));
        const config = await saver.put(
          configs[parent % (configs.length + 1)] ?? { configurable: { thread_id, checkpoint_ns: "" } },
          { ...emptyCheckpoint(), id: uuid6(0), channel_values: values, channel_versions: versions },
          { source: "loop", step: 0, parents: {} },
          versions,
        );
        configs.push(config);
        for (const [task, of] of Map.groupBy(writes, ([id]) => id)) {
          await saver.putWrites(
            config,
            of.map(([, channel, value]) => [channel, value]),
            task,
          );
        }
      }
      const query = { config: configs[at % configs.length] ?? {}, channels: ["a", "b", "d"] };
      const walked = await BaseCheckpointSaver.prototype.getDeltaChannelHistory.call(saver, query);
      expect(await saver.getDeltaChannelHistory(query)).toEqual(walked);
    }),
    { numRuns: 30 },
  );
});
