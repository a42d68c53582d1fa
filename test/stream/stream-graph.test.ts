import { RunnableLambda } from "@langchain/core/runnables";
import { tool } from "@langchain/core/tools";
import {
  Annotation,
  Command,
  MessagesAnnotation,
  StateGraph,
  type LangGraphRunnableConfig,
} from "@langchain/langgraph";
import { expect, test } from "vitest";
import { z } from "zod";
import { pendingQuestions } from "../../checkpoints/questions.ts";
import { Saver } from "../../checkpoints/saver.ts";
import { testDatabase } from "../support/database.ts";
import { asking, askingTwice, nested, saying } from "../checkpoints/support.ts";
import { model, session } from "./support.ts";

/** One model call. */
function talking(tags?: string[]) {
  return new StateGraph(MessagesAnnotation)
    .addNode("talk", async ({ messages }, config) => ({
      messages: [await model("Hel", "lo").invoke(messages, { ...config, ...(tags && { tags }) })],
    }))
    .addEdge("__start__", "talk")
    .compile();
}

const human = { messages: [{ role: "human", content: "hi", id: "h1" }] };

const names = (events: readonly { event: string }[]) => events.map(({ event }) => event);

test("values and updates are named by their mode, and nothing else is said", async () => {
  await using db = await testDatabase();
  const { run } = await session(db, saying("a"));

  expect(await run({ said: [] }, ["values", "updates"])).toEqual([
    { event: "values", data: { said: [] } },
    { event: "updates", data: { say: { said: ["a"] } } },
    { event: "values", data: { said: ["a"] } },
  ]);
});

test("subgraphs are heard with their namespace, only when asked for", async () => {
  await using db = await testDatabase();
  const { run } = await session(db, nested(saying("a")));

  const without = await run({}, ["updates"]);
  const within = await run({ said: [] }, ["updates"], { stream_subgraphs: true });

  expect(names(without)).toEqual(["updates"]);
  expect(names(within)[0]).toMatch(/^updates\|child:[0-9a-f-]{36}$/);
  expect(names(within).at(-1)).toBe("updates");
});

test("messages-tuple gives message pieces with their metadata, under the name messages", async () => {
  await using db = await testDatabase();
  const { run } = await session(db, talking());

  const events = await run(human, ["messages-tuple"]);

  expect(names(events)).toEqual(["messages", "messages"]);
  expect(events[0]?.data).toMatchObject([
    { type: "AIMessageChunk", content: "Hel", id: expect.stringMatching(/^run-/) },
    { langgraph_node: "talk", mine: 1 },
  ]);
  expect(JSON.stringify(events)).not.toMatch(/"__(?!pregel_pull)|secret/);
});

test("messages gives metadata once, the message so far, and complete messages from the state", async () => {
  await using db = await testDatabase();
  const { run } = await session(db, talking());

  const events = await run(human, ["messages"]);

  const id = (events.at(-1)!.data as [{ id: string }])[0].id;
  expect(events).toMatchObject([
    { event: "messages/complete", data: [{ type: "human", content: "hi", id: "h1" }] },
    { event: "messages/metadata", data: { [id]: { metadata: { langgraph_node: "talk" } } } },
    { event: "messages/partial", data: [{ type: "ai", content: "Hel", id }] },
    { event: "messages/partial", data: [{ type: "ai", content: "Hello", id }] },
    { event: "messages/complete", data: [{ type: "ai", content: "Hello", id }] },
  ]);
  expect(events).toHaveLength(5);
});

test("messages and values can be asked for together, and subgraphs complete messages, too", async () => {
  await using db = await testDatabase();
  const graph = new StateGraph(MessagesAnnotation).addNode("child", talking()).addEdge("__start__", "child").compile();
  const { run } = await session(db, graph);

  const events = await run(human, ["messages", "values"], { stream_subgraphs: true });

  const ids = events
    .filter(({ event }) => event === "messages/complete")
    .flatMap(({ data }) => (data as { id: string }[]).map(({ id }) => id));
  expect(ids).toEqual(["h1", expect.stringMatching(/^run-/)]);
  expect(names(events)).toContain("values");
  expect(names(events).some((name) => name.startsWith("values|child:"))).toBe(true);
});

test.each([["nostream"], ["langsmith:hidden"]])("a model call with the tag %s is not streamed", async (tag) => {
  await using db = await testDatabase();
  const { run } = await session(db, talking([tag]));

  const tuples = await run(human, ["messages-tuple"]);
  const partial = await run({ messages: [] }, ["messages"]);

  expect(tuples.filter(({ data }) => (data as [{ type: string }])[0].type === "AIMessageChunk")).toEqual([]);
  expect(names(partial)).not.toContain("messages/partial");
});

test("custom gives what nodes write", async () => {
  await using db = await testDatabase();
  const graph = new StateGraph(Annotation.Root({}))
    .addNode("write", (_state, config: LangGraphRunnableConfig) => {
      config.writer?.({ done: 1, at: new Date(0), big: 1n });
      return {};
    })
    .addEdge("__start__", "write")
    .compile();
  const { run } = await session(db, graph);

  expect(await run({}, ["custom"])).toEqual([
    { event: "custom", data: { done: 1, at: "1970-01-01T00:00:00.000Z", big: "1" } },
  ]);
});

test("tasks tells when a task starts and what it gave", async () => {
  await using db = await testDatabase();
  const { run } = await session(db, saying("a"));

  expect(await run({}, ["tasks"])).toMatchObject([
    { event: "tasks", data: { name: "say", input: { said: [] }, triggers: ["branch:to:say"], interrupts: [] } },
    { event: "tasks", data: { name: "say", result: { said: ["a"] }, interrupts: [] } },
  ]);
});

test("debug names checkpoints in four fields, as the history does, and nothing internal", async () => {
  await using db = await testDatabase();
  const { run, threadId } = await session(db, nested(asking("?")));

  const events = await run({}, ["debug", "checkpoints"]);

  expect(JSON.stringify(events)).not.toMatch(/"__(?!start|interrupt|pregel_pull|input|end)|secret|parentConfig/);
  const debug = events.filter(({ event }) => event === "debug").map(({ data }) => data as DebugData);
  expect(debug.map(({ type }) => type)).toEqual(["checkpoint", "checkpoint", "task", "task_result"]);
  const [first, second] = debug.map(({ payload }) => payload);
  expect(first).toMatchObject({ parent_checkpoint: null, metadata: { step: -1 }, next: ["__start__"] });
  expect(second?.parent_checkpoint).toEqual(first?.checkpoint);
  expect(second?.checkpoint).toEqual({
    thread_id: threadId,
    checkpoint_ns: "",
    checkpoint_id: expect.any(String),
    checkpoint_map: null,
  });
  const [task] = second?.tasks ?? [];
  expect(task).toMatchObject({
    name: "child",
    checkpoint: { checkpoint_ns: `child:${task?.id}`, checkpoint_id: null },
  });
  const checkpoints = events.filter(({ event }) => event === "checkpoints").map(({ data }) => data);
  expect(checkpoints).toEqual([first, second]);
  expect(checkpoints[1]).toMatchObject({ values: { said: [] }, next: ["child"], metadata: { step: 0 } });
});

interface DebugData {
  type: string;
  payload: {
    checkpoint: { checkpoint_id: string };
    parent_checkpoint: unknown;
    tasks?: { id: string; interrupts: { id: string }[] }[];
    interrupts?: { id: string }[];
  };
}

test("tools tells of tool calls", async () => {
  await using db = await testDatabase();
  const double = tool(({ n }) => 2 * n, {
    name: "double",
    description: "Doubles",
    schema: z.object({ n: z.number() }),
  });
  const graph = new StateGraph(Annotation.Root({ n: Annotation<number> }))
    .addNode("work", async ({ n }, config) => ({ n: await double.invoke({ n }, config) }))
    .addEdge("__start__", "work")
    .compile();
  const { run } = await session(db, graph);

  const events = await run({ n: 2 }, ["tools"]);

  expect(events).toMatchObject([
    { event: "tools", data: { event: "on_tool_start", name: "double" } },
    { event: "tools", data: { event: "on_tool_end", output: 4 } },
  ]);
});

test("events gives what every step says, without the graph's own stream, and other modes beside it", async () => {
  await using db = await testDatabase();
  const { run } = await session(db, talking());

  const events = await run(human, ["events", "values"]);

  const said = events
    .filter(({ event }) => event === "events")
    .map(({ data }) => data as { event: string; name: string });
  expect(said[0]).toMatchObject({ event: "on_chain_start", name: "LangGraph" });
  expect(said.filter(({ event }) => event === "on_chat_model_stream")).toHaveLength(2);
  expect(said.filter(({ event, name }) => event === "on_chain_stream" && name === "LangGraph")).toEqual([]);
  expect(names(events).filter((name) => name === "values")).toHaveLength(2);
  expect(JSON.stringify(events)).not.toMatch(/secret|__hidden|__pregel_checkpointer/);
  expect(names(await run({ messages: [] }, ["events"])).filter((name) => name !== "events")).toEqual([]);
});

test("events leaves out steps with the tag langsmith:hidden", async () => {
  await using db = await testDatabase();
  const hidden = RunnableLambda.from(() => ({})).withConfig({ runName: "unseen", tags: ["langsmith:hidden"] });
  const graph = new StateGraph(Annotation.Root({}))
    .addNode("step", async (_state, config) => hidden.invoke({}, config))
    .addEdge("__start__", "step")
    .compile();
  const { run } = await session(db, graph);

  expect(JSON.stringify(await run({}, ["events"]))).not.toContain("unseen");
});

test("a later question of a task has its public id in every mode", async () => {
  await using db = await testDatabase();
  const { run } = await session(db, asking("one?", "two?"));
  const modes = ["values", "updates", "tasks", "debug", "events"] as const;
  const first = await run({}, [...modes]);
  const id = interrupts(first)[0]!.id;

  const second = await run(new Command({ resume: { [id]: 1 } }), [...modes]);

  expect(first).toContainEqual({ event: "values", data: { __interrupt__: [{ id, value: "one?" }] } });
  const asked = new Map(interrupts(second).map(({ id: shown, value }) => [value, shown]));
  const later = asked.get("two?");
  expect(new Set(asked.keys())).toEqual(new Set(["one?", "two?"])); // the checkpoint that is resumed still has the first
  expect(asked.get("one?")).toBe(id);
  expect(later).not.toBe(id);
  expect(interrupts(second).filter(({ id: shown, value }) => asked.get(value) !== shown)).toEqual([]);
  for (const mode of ["values", "updates"]) {
    expect(second).toContainEqual({ event: mode, data: { __interrupt__: [{ id: later, value: "two?" }] } });
  }
  expect(second).toContainEqual({
    event: "tasks",
    data: expect.objectContaining({ interrupts: [{ id: later, value: "two?" }] }),
  });
});

test.each(["sync", "async", "exit"] as const)(
  "the stream and the tables give a question the same id: %s",
  async (durability) => {
    await using db = await testDatabase();
    const { run, threadId } = await session(db, nested(asking("one?", "two?")));
    const pending = () => pendingQuestions(new Saver(db.pool), { thread_id: threadId });
    const modes = ["updates", "values", "tasks"] as const;

    const first = await run({ said: [] }, [...modes], { durability });
    const [one] = await pending();
    const second = await run(new Command({ resume: { [one!.task_interrupt_id]: 1 } }), [...modes], { durability });
    const [two] = await pending();

    expect(new Set(interrupts(first).map(({ id }) => id))).toEqual(new Set([one!.interrupt_id]));
    expect(new Set(interrupts(second).map(({ id }) => id))).toEqual(new Set([two!.interrupt_id]));
    expect(two!.ordinal).toBe(1);
  },
);

test("all questions of a subgraph are shown, though the graph above knows one of them", async () => {
  await using db = await testDatabase();
  const { run } = await session(db, nested(askingTwice()));

  const events = await run({}, ["values"]);

  const { __interrupt__: shown } = events.at(-1)!.data as { __interrupt__: { value: string }[] };
  expect(new Set(shown.map(({ value }) => value))).toEqual(new Set(["left?", "right?"]));
});

test("a breakpoint is an empty list of interrupts", async () => {
  await using db = await testDatabase();
  const { run } = await session(db, saying("a"));

  const events = await run({}, ["values"], { interrupt_before: ["say"] });

  expect(events.at(-1)).toEqual({ event: "values", data: { __interrupt__: [] } });
});

test("options of the run reach the graph, and those not given leave its own in place", async () => {
  await using db = await testDatabase();
  const graph = saying("a", "b", "c", "d").withConfig({ recursionLimit: 2 });
  const { run } = await session(db, graph);

  await expect(run({}, ["values"])).rejects.toThrow(/Recursion limit of 2/);
  await expect(run({}, ["values"], { config: { configurable: {}, recursion_limit: 1 } })).rejects.toThrow(/limit of 1/);
  expect((await run(null, ["values"], { config: { configurable: {}, recursion_limit: 9 } })).at(-1)?.data).toEqual({
    said: ["a", "b", "c", "d"],
  });
});

test("who stops listening stops the graph, and shares nothing with other runs of it", async () => {
  await using db = await testDatabase();
  const said: string[] = [];
  const stopped = Promise.withResolvers<void>();
  const graph = new StateGraph(Annotation.Root({}))
    .addNode("first", () => {
      said.push("first");
      return {};
    })
    .addNode("wait", async (_state, { signal }: LangGraphRunnableConfig) => {
      await new Promise((resolve) => signal?.addEventListener("abort", resolve));
      stopped.resolve();
    })
    .addNode("never", () => {
      said.push("never");
      return {};
    })
    .addEdge("__start__", "first")
    .addEdge("first", "wait")
    .addEdge("wait", "never")
    .compile();
  const { open } = await session(db, graph);

  for await (const event of open({}, ["updates"])) {
    expect(event).toEqual({ event: "updates", data: { first: {} } });
    break;
  }
  await stopped.promise;

  expect(said).toEqual(["first"]);
  expect(graph.checkpointer).toBeUndefined();
});

test("an error of the graph is thrown", async () => {
  await using db = await testDatabase();
  const graph = new StateGraph(Annotation.Root({}))
    .addNode("fail", () => {
      throw new RangeError("Boo!");
    })
    .addEdge("__start__", "fail")
    .compile();
  const { run } = await session(db, graph);

  await expect(run({}, ["values"])).rejects.toThrow(RangeError);
  await expect(run(null, ["events"])).rejects.toThrow("Boo!");
});

/** All interrupts, at any depth. */
function interrupts(value: unknown): { id: string; value: unknown }[] {
  if (Array.isArray(value)) return value.flatMap(interrupts);
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) =>
    key === "__interrupt__" || key === "interrupts" ? (item as { id: string; value: unknown }[]) : interrupts(item),
  );
}
