import { Command, interrupt, StateGraph, task } from "@langchain/langgraph";
import { expect, test } from "vitest";
import { z } from "zod";
import { pendingQuestions } from "../../checkpoints/questions.ts";
import { Saver } from "../../checkpoints/saver.ts";
import { testDatabase } from "../support/database.ts";
import { asking, askingTwice, gather, nested, newThread, runOn, State } from "./support.ts";

/** A thread on which `graph` is run, and what it waits for. */
async function conversation(given: unknown) {
  const graph = given as ReturnType<typeof asking>; // every graph here has this state; the type also names its nodes
  const db = await testDatabase();
  const owner = await newThread(db.pool);
  const pending = () => pendingQuestions(new Saver(db.pool), { thread_id: owner.thread_id });
  return {
    pending,
    pool: db.pool,
    thread_id: owner.thread_id,
    run: async (input: object | null) => {
      const { config, tracker } = runOn(db.pool, owner);
      const outcome = await graph.invoke(input as null, config).catch((error: unknown) => error);
      expect(tracker.pending()).toEqual(await pending()); // what a run sees while it executes is what the tables say
      return outcome;
    },
    [Symbol.asyncDispose]: () => db[Symbol.asyncDispose](),
  };
}

const answer = (map: Record<string, unknown>) => new Command({ resume: map });

test("two questions of one task, one after the other, have different public ids", async () => {
  await using thread = await conversation(asking("one?", "two?"));

  await thread.run({});
  const [one] = await thread.pending();
  await thread.run(answer({ [one!.task_interrupt_id]: 1 }));
  const [two] = await thread.pending();

  expect(one).toMatchObject({ value: "one?", ordinal: 0, ns: "" });
  expect(two).toMatchObject({
    value: "two?",
    ordinal: 1,
    task_interrupt_id: one!.task_interrupt_id,
    task_id: one!.task_id,
  });
  expect(two!.interrupt_id).not.toBe(one!.interrupt_id);
  for (const { interrupt_id } of [one!, two!]) expect(interrupt_id).toMatch(/^[0-9a-f]{32}$/);
  expect(await thread.run(answer({ [two!.task_interrupt_id]: 2 }))).toEqual({ said: [1, 2] });
  expect(await thread.pending()).toEqual([]);
});

test("a question keeps its public id when a run goes on without an answer", async () => {
  await using thread = await conversation(asking("one?", "two?"));
  await thread.run({});
  await thread.run(answer({ [(await thread.pending())[0]!.task_interrupt_id]: 1 }));
  const before = await thread.pending();

  await thread.run(null);

  expect(await thread.pending()).toEqual(before);
});

test.each([false, 0, "", null])("%j is an answer", async (value) => {
  await using thread = await conversation(asking("one?"));
  await thread.run({});
  const [question] = await thread.pending();

  expect(await thread.run(answer({ [question!.task_interrupt_id]: value }))).toEqual({ said: [value] });
});

test("of two tasks that ask at the same time, the one that is not answered stays pending", async () => {
  await using thread = await conversation(askingTwice());
  await thread.run({});
  const asked = await thread.pending();
  const left = asked.find(({ value }) => value === "left?")!;

  await thread.run(answer({ [left.task_interrupt_id]: "L" }));

  expect(new Set(asked.map(({ value }) => value))).toEqual(new Set(["left?", "right?"]));
  expect(await thread.pending()).toEqual(asked.filter((question) => question !== left));
});

test("all questions that wait in one subgraph are pending, though the graph above records one", async () => {
  await using thread = await conversation(nested(nested(askingTwice())));
  await thread.run({});
  const asked = await thread.pending();
  const [first, second] = asked;

  expect(new Set(asked.map(({ value }) => value))).toEqual(new Set(["left?", "right?"]));
  expect(first!.task_id).toBe(second!.task_id);
  expect(first!.path).toHaveLength(3);
  expect(first!.ns).toMatch(/^child:[^|]+\|child:[^|]+$/);
  await thread.run(answer({ [first!.task_interrupt_id]: 1 }));
  expect(await thread.pending()).toEqual([second]);
  await thread.run(answer({ [second!.task_interrupt_id]: 2 }));
  expect(await thread.pending()).toEqual([]);
});

test("questions one after the other in a subgraph have different public ids", async () => {
  await using thread = await conversation(nested(asking("one?", "two?")));
  await thread.run({});
  const [one] = await thread.pending();
  await thread.run(answer({ [one!.task_interrupt_id]: 1 }));
  const [two] = await thread.pending();

  expect([one!.ordinal, two!.ordinal]).toEqual([0, 1]);
  expect(two!.interrupt_id).not.toBe(one!.interrupt_id);
});

test("a subgraph with a memory of its own is known by the task that called it", async () => {
  const child = new StateGraph(State)
    .addNode("ask", () => ({ said: [interrupt("one?"), interrupt("two?")] }))
    .addEdge("__start__", "ask")
    .compile({ checkpointer: true });
  await using thread = await conversation(nested(child));
  await thread.run({});
  const [one] = await thread.pending();
  await thread.run(answer({ [one!.task_interrupt_id]: 1 }));
  const [two] = await thread.pending();

  expect(one).toMatchObject({ ns: "child", value: "one?", ordinal: 0 });
  expect(two).toMatchObject({ value: "two?", ordinal: 1, task_id: one!.task_id });
});

test("a question asked by a function that a node calls is one question", async () => {
  const confirm = task("confirm", async (what: string) => interrupt(what));
  const graph = new StateGraph(State)
    .addNode("ask", async () => ({ said: [interrupt("own?"), await confirm("called?")] }))
    .addEdge("__start__", "ask")
    .compile();
  await using thread = await conversation(graph);
  await thread.run({});
  const [own, ...others] = await thread.pending();
  await thread.run(answer({ [own!.task_interrupt_id]: 1 }));
  const [called, ...more] = await thread.pending();

  expect([others, more]).toEqual([[], []]);
  expect([own!.value, called!.value]).toEqual(["own?", "called?"]);
  expect(await thread.run(answer({ [called!.task_interrupt_id]: 2 }))).toEqual({ said: [1, 2] });
});

test("a question whose task got the answer and then failed is not asked any more", async () => {
  let failing = true;
  const graph = new StateGraph(State)
    .addNode("ask", () => {
      const said = [interrupt("one?")];
      if (failing) throw new Error("after the answer");
      return { said };
    })
    .addEdge("__start__", "ask")
    .compile();
  await using thread = await conversation(graph);
  await thread.run({});
  const [one] = await thread.pending();
  await thread.run(answer({ [one!.task_interrupt_id]: 1 }));
  failing = false;

  expect(await thread.pending()).toEqual([]);
  expect(await thread.run(null)).toEqual({ said: [1] });
});

test("a question whose answer did not fit its schema is still asked", async () => {
  const graph = new StateGraph(State)
    .addNode("ask", () => ({ said: [interrupt("first?"), interrupt("number?", { responseSchema: z.number() })] }))
    .addEdge("__start__", "ask")
    .compile();
  await using thread = await conversation(graph);
  await thread.run({});
  await thread.run(answer({ [(await thread.pending())[0]!.task_interrupt_id]: 1 }));
  const before = await thread.pending();

  await thread.run(answer({ [before[0]!.task_interrupt_id]: "no number" }));

  expect(before).toMatchObject([{ value: "number?", ordinal: 1, response_schema: { type: "number" } }]);
  expect(await thread.pending()).toEqual(before);
  expect(await thread.run(answer({ [before[0]!.task_interrupt_id]: 2 }))).toEqual({ said: [1, 2] });
});

test("the checkpoint may be named, and an older one waits for nothing", async () => {
  await using thread = await conversation(asking("one?"));
  await thread.run({});
  const [newest, older] = await gather(new Saver(thread.pool).list({ configurable: { thread_id: thread.thread_id } }));
  const at = (tuple: typeof newest) =>
    pendingQuestions(new Saver(thread.pool), {
      thread_id: thread.thread_id,
      checkpoint_id: tuple?.checkpoint.id,
    });
  await thread.run({ said: ["a new input"] });

  expect(await at(newest)).toMatchObject([{ value: "one?" }]);
  expect(await at(older)).toEqual([]);
  expect(await thread.pending()).toHaveLength(1);
});
