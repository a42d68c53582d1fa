import { Send, StateGraph } from "@langchain/langgraph";
import type pg from "pg";
import { expect, test } from "vitest";
import { testDatabase } from "../support/database.ts";
import { count, newThread, runOn, State } from "./support.ts";

/** `pool`, and the names of what it was asked to execute; "" for a statement without one. */
function watched(pool: pg.Pool): { pool: pg.Pool; names: string[] } {
  const names: string[] = [];
  const query = (statement: pg.QueryConfig) => {
    names.push(statement.name ?? "");
    return pool.query(statement);
  };
  return { pool: Object.create(pool, { query: { value: query } }) as pg.Pool, names };
}

test("the result of a task lands with the checkpoint of its step, in one statement", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const { pool, names } = watched(db.pool);
  const { config, saver } = runOn(pool, owner);
  const graph = new StateGraph(State)
    .addNode("one", () => ({ said: ["one"] }))
    .addNode("two", () => ({ said: ["two"] }))
    .addEdge("__start__", "one")
    .addEdge("one", "two")
    .compile();
  await graph.invoke({ said: [] }, config);
  expect(names.filter((name) => name.startsWith("put-writes"))).toEqual([]);
  expect(names.filter((name) => name.startsWith("put-checkpoint"))).toHaveLength(4); // the input, and three steps
  const steps = await Array.fromAsync(saver.list({ configurable: { thread_id: owner.thread_id } }));
  expect(steps.map(({ pendingWrites = [] }) => pendingWrites.length > 0)).toEqual([false, true, true, true]);
});

test("the result of a task whose sibling is at work is stored before that one is through", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const { config } = runOn(db.pool, owner);
  const graph = new StateGraph(State)
    .addNode("quick", () => ({ said: ["quick"] }))
    .addNode("slow", async () => {
      const ofInput = 3; // as many nodes as it leads to, and what it says
      await expect.poll(() => count(db.pool, "checkpoint_writes", owner.thread_id)).toBeGreaterThan(ofInput);
      return { said: ["slow"] };
    })
    .addEdge("__start__", "quick")
    .addEdge("__start__", "slow")
    .compile();
  expect(await graph.invoke({ said: [] }, config)).toEqual({ said: ["quick", "slow"] });
});

test("a step with more results than one statement takes is stored whole", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const { config, saver } = runOn(db.pool, owner);
  const all = Array.from({ length: 300 }, (_, i) => i);
  const graph = new StateGraph(State)
    .addNode("each", ({ said }: { said: unknown[] }) => ({ said }))
    .addConditionalEdges("__start__", () => all.map((i) => new Send("each", { said: [i] })), ["each"])
    .compile();
  expect(await graph.invoke({ said: [] }, config)).toEqual({ said: all });
  const [, step] = await Array.fromAsync(saver.list({ configurable: { thread_id: owner.thread_id } }));
  expect(new Set(step?.pendingWrites?.map(([taskId]) => taskId)).size).toBe(all.length);
});

test("a result that comes after the thread was lost is refused, and its step with it", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const { config } = runOn(db.pool, owner);
  const graph = new StateGraph(State)
    .addNode("late", async () => {
      await db.pool.query("update thread_owner set epoch = epoch + 1 where thread_id = $1", [owner.thread_id]);
      return { said: ["late"] };
    })
    .addEdge("__start__", "late")
    .compile();
  await expect(graph.invoke({ said: [] }, config)).rejects.toMatchObject({ code: "lease_lost" });
  expect(await count(db.pool, "checkpoints", owner.thread_id)).toBe(2); // the input, and the step before the node
  expect(await count(db.pool, "checkpoint_writes", owner.thread_id)).toBe(2); // of the input
});
