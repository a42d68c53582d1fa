/** The state of a thread, as the stock client sees it: read, edited by hand, forked and copied. */
import { randomUUID } from "node:crypto";
import { Command } from "@langchain/langgraph";
import type { Checkpoint, ThreadState } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, expect, test } from "vitest";
import { refusal, type World, world } from "../threads/support.ts";

let w: World;
beforeAll(async () => {
  w = await world();
});
afterAll(() => w[Symbol.asyncDispose]());

interface Values {
  count?: number;
  log: string[];
}

const post = (path: string, body: unknown) => w.app.request(path, { method: "POST", body: JSON.stringify(body) });
const stateOf = (threadId: string) => w.client.threads.getState<Values>(threadId);
const historyOf = (threadId: string) => w.client.threads.getHistory<Values>(threadId, { limit: 100 });

test("a thread on which no graph has run has an empty state and no history", async () => {
  const { thread_id } = await w.client.threads.create();
  const nothing = { values: {}, next: [], tasks: [], checkpoint: null, parent_checkpoint: null, created_at: null };
  expect(await stateOf(thread_id)).toMatchObject(nothing);
  expect(await historyOf(thread_id)).toEqual([]);
  expect(await refusal(w.client.threads.updateState(thread_id, { values: { count: 1 } }))).toBe("422 invalid_input");
  // Of a known graph, but without a checkpoint.
  const ready = await w.client.threads.create({ graphId: "steps" });
  expect(await stateOf(ready.thread_id)).toMatchObject(nothing);
  expect(await historyOf(ready.thread_id)).toEqual([]);
});

test("a state and its history tell where the thread is and was", async () => {
  const threadId = await w.threadAfter("steps", { count: 1 });
  const state = await stateOf(threadId);
  expect(state).toMatchObject({ values: { count: 1, log: ["a", "b"] }, next: [], tasks: [] });
  expect(state.checkpoint).toEqual({
    thread_id: threadId,
    checkpoint_ns: "",
    checkpoint_id: expect.any(String),
    checkpoint_map: null,
  });
  const history = await historyOf(threadId);
  expect(history.map(({ next }) => next)).toEqual([[], ["b"], ["a"], ["__start__"]]);
  expect(history[0]?.parent_checkpoint).toEqual(history[1]?.checkpoint);
  expect(JSON.stringify(history)).not.toContain("__pregel_checkpointer");
});

test("a history is limited, starts before a checkpoint however it is named, and is filtered by metadata", async () => {
  const threadId = await w.threadAfter("steps", { count: 1 });
  const all = await historyOf(threadId);
  expect(await w.client.threads.getHistory(threadId, { limit: 2 })).toEqual(all.slice(0, 2));
  const second = all[1]!.checkpoint;
  const befores = [second.checkpoint_id, second, { configurable: second }];
  for (const before of befores) {
    const response = await post(`/threads/${threadId}/history`, { before });
    expect(await response.json()).toEqual(all.slice(2));
  }
  const query = `limit=1&before=${second.checkpoint_id}`;
  expect(await (await w.app.request(`/threads/${threadId}/history?${query}`)).json()).toEqual(all.slice(2, 3));
  const inputs = await w.client.threads.getHistory(threadId, { metadata: { source: "input" } });
  expect(inputs).toEqual(all.slice(3));
  expect((await post(`/threads/${threadId}/history`, { limit: 0 })).status).toBe(422);
});

test("an earlier state is read by its checkpoint, by all three ways to ask", async () => {
  const threadId = await w.threadAfter("steps", { count: 1 });
  const [, earlier] = await historyOf(threadId);
  const { checkpoint } = earlier!;
  expect(await w.client.threads.getState(threadId, checkpoint.checkpoint_id!)).toEqual(earlier);
  expect(await w.client.threads.getState(threadId, checkpoint)).toEqual(earlier);
  for (const subgraphs of [true, false, "true", "false"]) {
    expect((await post(`/threads/${threadId}/state/checkpoint`, { checkpoint, subgraphs })).status).toBe(200);
  }
  const absent = "1efc0000-0000-6000-8000-000000000000";
  expect(await refusal(w.client.threads.getState(threadId, absent))).toBe("404 checkpoint_not_found");
});

test("a question shows in its task and goes when it is answered, though a sibling still waits", async () => {
  const threadId = await w.threadAfter("asking", { count: 2 });
  const { tasks, next } = await stateOf(threadId);
  expect(next).toEqual(["ask", "ask"]);
  const [first, second] = tasks.flatMap(({ interrupts }) => interrupts);
  expect([first?.value, second?.value]).toEqual([{ question: 0 }, { question: 1 }]);
  await w.invoke("asking", threadId, new Command({ resume: { [first!.id!]: "yes" } }));
  const after = await stateOf(threadId);
  expect(after.tasks.flatMap(({ interrupts }) => interrupts)).toEqual([second]);
  expect(after.next).toEqual(["ask"]);
});

test("the state of a waiting subgraph is inside its task if asked for, and can be read by its namespace", async () => {
  const threadId = await w.threadAfter("nested", { count: 1 });
  const plain = await stateOf(threadId);
  const { checkpoint } = plain.tasks[0]!;
  expect(checkpoint).toMatchObject({ thread_id: threadId, checkpoint_ns: expect.stringMatching(/^inner:/) });
  expect(plain.tasks[0]?.state).toBeNull();
  const opened = await w.client.threads.getState<Values>(threadId, undefined, { subgraphs: true });
  const inner = opened.tasks[0]?.state;
  expect(inner?.next).toEqual(["ask"]);
  expect(inner?.tasks[0]?.interrupts).toHaveLength(1);

  const direct = await w.client.threads.getState<Values>(threadId, checkpoint as Checkpoint);
  expect(direct).toMatchObject({ values: { count: 1 }, next: ["ask"] });
  expect(direct.tasks[0]?.interrupts).toEqual(inner?.tasks[0]?.interrupts);
  const history = await w.client.threads.getHistory(threadId, { checkpoint: checkpoint as Checkpoint });
  expect(history[0]?.checkpoint).toEqual(direct.checkpoint);
  const elsewhere = { ...checkpoint, checkpoint_ns: "nowhere:1" } as Checkpoint;
  expect(await refusal(w.client.threads.getState(threadId, elsewhere))).toBe("404 checkpoint_not_found");
});

test("a subgraph's state can be edited in its namespace", async () => {
  const threadId = await w.threadAfter("nested", { count: 1 });
  const checkpoint = (await stateOf(threadId)).tasks[0]!.checkpoint as Checkpoint;
  const edited = await w.client.threads.updateState(threadId, {
    values: { log: ["edited"] },
    checkpoint,
    asNode: "ask",
  });
  expect(edited).toMatchObject({ checkpoint: { checkpoint_ns: checkpoint.checkpoint_ns } });
  expect((await w.client.threads.getState<Values>(threadId, checkpoint)).values.log).toEqual(["edited"]);
});

test("an edit is a checkpoint on top, and the thread's row follows", async () => {
  const threadId = await w.threadAfter("steps", { count: 1 });
  const before = await w.client.threads.get(threadId);
  const head = await stateOf(threadId);
  const answer = (await w.client.threads.updateState(threadId, { values: { count: 7 }, asNode: "a" })) as unknown as {
    checkpoint: Checkpoint;
    configurable: Checkpoint;
    checkpoint_id: string;
  };
  const state = await stateOf(threadId);
  expect(state.checkpoint).toEqual(answer.checkpoint);
  expect(answer.configurable).toMatchObject(answer.checkpoint);
  expect(answer.checkpoint_id).toBe(answer.checkpoint.checkpoint_id);
  expect(state).toMatchObject({ values: { count: 7 }, next: ["b"], parent_checkpoint: head.checkpoint });
  const thread = await w.client.threads.get(threadId);
  expect(thread).toMatchObject({ status: "interrupted", values: { count: 7, log: ["a", "b"] }, interrupts: {} });
  expect(thread.state_updated_at > before.state_updated_at).toBe(true);
});

test("`__end__` without values drops what is pending, as agent-inbox does to ignore a thread", async () => {
  const threadId = await w.threadAfter("asking", { count: 2 });
  await w.client.threads.updateState(threadId, { values: { count: 2 }, asNode: "__start__" });
  await w.invoke("asking", threadId, null);
  await w.client.threads.updateState(threadId, { values: null, asNode: "__end__" });
  expect(await w.client.threads.get(threadId)).toMatchObject({ status: "idle", interrupts: {} });
  expect(await stateOf(threadId)).toMatchObject({ next: [], tasks: [] });
});

test("an edit belongs to no run, so it stays when the run before it is deleted", async () => {
  const { thread_id } = await w.client.threads.create({ graphId: "asking" });
  await w.invoke("asking", thread_id, { count: 1 }, randomUUID());
  expect((await stateOf(thread_id)).metadata).toHaveProperty("run_id");
  await w.client.threads.updateState(thread_id, { values: null, asNode: "__end__" });
  expect((await stateOf(thread_id)).metadata?.["run_id"]).toBeNull();
  await w.client.threads.updateState(thread_id, { values: { count: 3 }, asNode: "ask" });
  expect((await stateOf(thread_id)).metadata).not.toHaveProperty("run_id");
});

test("`__copy__` forks an earlier checkpoint, from which the graph can go on", async () => {
  const threadId = await w.threadAfter("steps", { count: 1 });
  const [, beforeB] = await historyOf(threadId);
  await w.client.threads.updateState(threadId, {
    values: null,
    asNode: "__copy__",
    checkpointId: beforeB!.checkpoint.checkpoint_id!,
  });
  const forked = await stateOf(threadId);
  expect(forked).toMatchObject({ next: ["b"], values: { log: ["a"] }, metadata: { source: "fork" } });
  expect(forked.parent_checkpoint).toEqual(beforeB!.parent_checkpoint);
  expect(await w.client.threads.get(threadId)).toMatchObject({ status: "interrupted", values: { log: ["a"] } });
  await w.invoke("steps", threadId, null);
  expect((await stateOf(threadId)).values.log).toEqual(["a", "b"]);
});

test("an update that the graph refuses is the client's mistake and changes nothing", async () => {
  const threadId = await w.threadAfter("steps", { count: 1 });
  const before = await stateOf(threadId);
  const absent = { values: { count: 2 }, asNode: "absent" };
  expect(await refusal(w.client.threads.updateState(threadId, absent))).toBe("422 invalid_input");
  const checkpointId = "1efc0000-0000-6000-8000-000000000000";
  expect(await refusal(w.client.threads.updateState(threadId, { values: { count: 2 }, checkpointId }))).toBe(
    "404 checkpoint_not_found",
  );
  expect((await post(`/threads/${threadId}/state`, { values: "text" })).status).toBe(422);
  expect(await stateOf(threadId)).toEqual(before);
});

test("metadata of the newest checkpoint can be added to, but not what the server keeps there", async () => {
  const threadId = await w.threadAfter("steps", { count: 1 });
  await w.client.threads.patchState(threadId, { reviewed: true, step: 99, run_id: "forged", __x: 1 });
  const [newest, older] = await historyOf(threadId);
  expect(newest?.metadata).toMatchObject({ reviewed: true, step: 2 });
  expect(newest?.metadata).not.toHaveProperty("run_id");
  expect(newest?.metadata).not.toHaveProperty("__x");
  expect(older?.metadata).not.toHaveProperty("reviewed");
});

test("messages are plain objects in the state and in the thread", async () => {
  const threadId = await w.threadAfter("chat", { messages: [{ role: "user", content: "hi" }] });
  await w.client.threads.updateState(threadId, { values: { messages: [{ role: "user", content: "more" }] } });
  const messages = [
    { type: "human", content: "hi" },
    { type: "ai", content: "hello" },
    { type: "human", content: "more" },
  ];
  expect((await w.client.threads.getState(threadId)).values).toMatchObject({ messages });
  expect((await w.client.threads.get(threadId)).values).toMatchObject({ messages });
});

test("a thread can be made from the updates of a conversation elsewhere", async () => {
  const thread = await w.client.threads.create({
    graphId: "steps",
    supersteps: [
      { updates: [{ values: { count: 5 }, asNode: "__input__" }] },
      { updates: [{ values: { count: 5 }, asNode: "__start__" }] },
      { updates: [{ values: { log: ["told"] }, asNode: "a" }] },
    ],
  });
  expect(thread).toMatchObject({ status: "interrupted", values: { count: 5, log: ["told"] } });
  expect(await stateOf(thread.thread_id)).toMatchObject({ next: ["b"], values: { count: 5, log: ["told"] } });
  const again = { threadId: thread.thread_id, graphId: "steps", ifExists: "do_nothing" } as const;
  const supersteps = [{ updates: [{ values: { log: ["twice"] }, asNode: "a" }] }];
  expect((await w.client.threads.create({ ...again, supersteps })).values).toEqual(thread.values);
});

test("updates that cannot be replayed leave no thread behind", async () => {
  const threadId = randomUUID();
  const supersteps = [{ updates: [{ values: { count: 5 }, asNode: "absent" }] }];
  expect(await refusal(w.client.threads.create({ threadId, supersteps }))).toBe("422 invalid_input");
  expect(await refusal(w.client.threads.create({ threadId, graphId: "steps", supersteps }))).toBe("422 invalid_input");
  expect(await refusal(w.client.threads.create({ threadId, graphId: "gone", supersteps }))).toBe("404 graph_not_found");
  expect(await refusal(w.client.threads.get(threadId))).toBe("404 thread_not_found");
});

test("a graph that is no longer loaded is named as the reason", async () => {
  const { thread_id } = await w.client.threads.create({ graphId: "gone" });
  await expect(w.client.threads.getState(thread_id)).rejects.toThrow(/graph_not_found.*|"gone"/);
  expect(await refusal(w.client.threads.getHistory(thread_id))).toBe("404 graph_not_found");
  expect(await refusal(w.client.threads.updateState(thread_id, { values: {} }))).toBe("404 graph_not_found");
});

const withoutIds = (history: ThreadState<Values>[], threadId: string) =>
  JSON.parse(JSON.stringify(history).replaceAll(threadId, "THREAD")) as unknown;

test("a copy has the whole history, and where it goes the original does not see", async () => {
  const source = await w.threadAfter("asking", { count: 2 });
  await w.client.threads.update(source, { metadata: { owner: "me" } });
  await w.client.threads.updateState(source, { values: { count: 2 }, asNode: "__start__" });
  await w.invoke("asking", source, null);
  const history = await historyOf(source);
  const thread = await w.client.threads.get(source);

  const copy = await w.client.threads.copy(source);
  expect(copy.thread_id).not.toBe(source);
  expect(copy.metadata).toEqual({ ...thread.metadata, thread_id: copy.thread_id });
  expect(copy).toMatchObject({ status: thread.status, values: thread.values, interrupts: thread.interrupts });
  expect(withoutIds(await historyOf(copy.thread_id), copy.thread_id)).toEqual(withoutIds(history, source));

  const [first, second] = (await stateOf(copy.thread_id)).tasks.flatMap(({ interrupts }) => interrupts);
  const answers = { [first!.id!]: "x", [second!.id!]: "y" };
  await w.invoke("asking", copy.thread_id, new Command({ resume: answers }));
  expect((await stateOf(copy.thread_id)).values.log).toEqual(["x", "y"]);
  expect(await historyOf(source)).toEqual(history);
  expect(await w.client.threads.get(source)).toEqual(thread);
  // And the other way round: the copy keeps what it has when the original goes.
  await w.client.threads.delete(source);
  expect((await stateOf(copy.thread_id)).values.log).toEqual(["x", "y"]);
});

test("a copy of nothing is refused", async () => {
  expect(await refusal(w.client.threads.copy(randomUUID()))).toBe("409 copy_source_missing");
});
