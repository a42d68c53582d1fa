import { Command } from "@langchain/langgraph";
import { expect, test } from "vitest";
import { pendingQuestions } from "../../checkpoints/questions.ts";
import { threadState } from "../../runs/stream/state.ts";
import { asking, askingTwice, gather, nested, newThread, runOn, saying } from "../checkpoints/support.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";

/** A thread on which `graph` has run once with each input. */
async function ranOn(db: TestDatabase, given: unknown, ...inputs: (object | null)[]) {
  const graph = given as ReturnType<typeof asking>;
  const owner = await newThread(db.pool);
  const { config, saver } = runOn(db.pool, owner);
  for (const input of inputs) await graph.invoke(input, config);
  return {
    ...owner,
    answerTo: async (value: string, answer: unknown) => {
      const question = (await pendingQuestions(saver, owner)).find((pending) => pending.value === value);
      await graph.invoke(new Command({ resume: { [question!.task_interrupt_id]: answer } }), config);
    },
    state: async (options = {}) =>
      threadState(await graph.getState(config, options), await pendingQuestions(saver, { thread_id: owner.thread_id })),
    history: async () => (await gather(graph.getStateHistory(config))).map((snapshot) => threadState(snapshot, [])),
  };
}

test("a finished thread has values, a place and no tasks", async () => {
  await using db = await testDatabase();
  const thread = await ranOn(db, saying("a"), {});
  const { thread_id } = thread;

  expect(await thread.state()).toEqual({
    values: { said: ["a"] },
    next: [],
    tasks: [],
    metadata: expect.objectContaining({ source: "loop", step: 1, thread_id }),
    created_at: expect.stringMatching(/^\d{4}-.*Z$/),
    checkpoint: { thread_id, checkpoint_ns: "", checkpoint_id: expect.any(String), checkpoint_map: null },
    parent_checkpoint: { thread_id, checkpoint_ns: "", checkpoint_id: expect.any(String), checkpoint_map: null },
    interrupts: [],
  });
  expect((await thread.state()).metadata).not.toHaveProperty("checkpoint_ns");
});

test("after a partial answer only the open question is shown", async () => {
  await using db = await testDatabase();
  const thread = await ranOn(db, askingTwice(), {});
  await thread.answerTo("left?", "L");

  const { tasks, interrupts } = await thread.state();

  expect(interrupts.map(({ value }) => value)).toEqual(["right?"]);
  expect(Object.fromEntries(tasks.map(({ name, interrupts: shown }) => [name, shown.length]))).toEqual({
    left: 0,
    right: 1,
  });
});

test("the second question of a task has its own id in the state", async () => {
  await using db = await testDatabase();
  const thread = await ranOn(db, asking("one?", "two?"), {});
  const [one] = (await thread.state()).interrupts;
  await thread.answerTo("one?", 1);
  const [two] = (await thread.state()).interrupts;

  expect([one?.value, two?.value]).toEqual(["one?", "two?"]);
  expect(two?.id).not.toBe(one?.id);
});

test("a waiting subgraph is a place, or a state if asked for, and its questions are its task's", async () => {
  await using db = await testDatabase();
  const thread = await ranOn(db, nested(askingTwice()), {});

  const [task] = (await thread.state()).tasks;
  const [withState] = (await thread.state({ subgraphs: true })).tasks;

  expect(task).toMatchObject({ name: "child", error: null, state: null, result: null });
  expect(task?.checkpoint).toMatchObject({ checkpoint_ns: `child:${task?.id}`, checkpoint_id: null });
  expect(new Set(task?.interrupts.map(({ value }) => value))).toEqual(new Set(["left?", "right?"]));
  expect(withState?.checkpoint).toBeNull();
  const inner = withState?.state;
  expect(inner?.checkpoint).toMatchObject({ checkpoint_ns: `child:${task?.id}` });
  expect(inner?.checkpoint?.checkpoint_map).toHaveProperty([""]);
  expect(Object.fromEntries((inner?.tasks ?? []).map(({ name, interrupts }) => [name, interrupts[0]?.value]))).toEqual({
    left: "left?",
    right: "right?",
  });
});

test("the error of a task is its message", async () => {
  await using db = await testDatabase();
  const failing = nested(saying("a"));
  const thread = await ranOn(db, failing, {});
  const [newest] = await thread.history();
  const snapshot = {
    values: {},
    next: ["x"],
    config: {},
    tasks: [{ id: "1", name: "x", interrupts: [], error: { name: "Error", message: "Boo!" } }],
  };

  expect(newest?.parent_checkpoint).toEqual((await thread.history())[1]?.checkpoint);
  expect(threadState(snapshot as never, []).tasks[0]?.error).toBe("Boo!");
});
