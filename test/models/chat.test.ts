import { AIMessage, type AIMessageChunk, type BaseMessage, HumanMessage, ToolMessage } from "@langchain/core/messages";
import { END, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { expect, test } from "vitest";
import { callModel, type ModelCall } from "../../models/chat.ts";
import { scriptedModel, type ScriptedModel, type Step } from "../support/scripted-model.ts";

const question = [new HumanMessage("What is the time?")];

const tool = (name: string) => ({
  type: "function" as const,
  function: { name, description: name, parameters: { type: "object", properties: {} } },
});

function ask(model: ScriptedModel, call: ModelCall = {}, messages: readonly BaseMessage[] = question) {
  return callModel(messages, { endpoint: endpointOf(model), ...call });
}

function endpointOf(model: ScriptedModel) {
  return { baseUrl: model.url, apiKey: "key-1", name: "scripted", label: "test" };
}

/** The chunks that mode `messages` shows, and the message that the state ends with. */
async function stream(model: ScriptedModel, history: readonly BaseMessage[] = question) {
  const graph = new StateGraph(MessagesAnnotation)
    .addNode("model", async (state) => ({ messages: [await ask(model, { tools: [tool("t")] }, state.messages)] }))
    .addEdge(START, "model")
    .addEdge("model", END)
    .compile();
  const chunks: AIMessageChunk[] = [];
  let last: AIMessage | undefined;
  for await (const [mode, data] of await graph.stream(
    { messages: [...history] },
    { streamMode: ["messages", "values"] },
  )) {
    if (mode === "messages") chunks.push((data as unknown as [AIMessageChunk])[0]);
    else last = (data as { messages: AIMessage[] }).messages.at(-1);
  }
  return { chunks, last: last! };
}

/** The message that the stream of protocol events (version 3) ends with. */
async function streamEvents(model: ScriptedModel) {
  const graph = new StateGraph(MessagesAnnotation)
    .addNode("model", async (state) => ({ messages: [await ask(model, { tools: [tool("t")] }, state.messages)] }))
    .addEdge(START, "model")
    .addEdge("model", END)
    .compile();
  const run = await graph.streamEvents({ messages: question }, { version: "v3" });
  const ids = new Set<string>();
  for await (const event of run) {
    const { method, params } = event as { method: string; params: { data: { event?: string; id?: string } } };
    if (method === "messages" && params.data.event === "message-start" && params.data.id) ids.add(params.data.id);
  }
  const { messages } = (await run.output) as { messages: AIMessage[] };
  expect([...ids]).toContain(messages.at(-1)!.id);
  return messages.at(-1)!;
}

/** The three ways in which an answer reaches us. */
const ways: [string, (model: ScriptedModel) => Promise<AIMessage>][] = [
  ["at once", (model) => ask(model, { tools: [tool("t")] })],
  ["streamed", async (model) => (await stream(model)).last],
  ["as events", streamEvents],
];

test("a call sends the model's name, the key, a token limit and the tools by name", async () => {
  await using model = await scriptedModel([{ text: "Noon." }]);
  const answer = await ask(model, { tools: [tool("b"), tool("a")], toolChoice: "required" });
  expect(answer.text).toBe("Noon.");
  expect(answer.usage_metadata).toMatchObject({ input_tokens: 7, output_tokens: 1 });
  const { body, headers } = model.requests[0]!;
  expect(body).toMatchObject({ model: "scripted", max_tokens: 1_000, tool_choice: "required" });
  expect(body.tools?.map((offered) => offered.function.name)).toEqual(["a", "b"]);
  expect(headers.authorization).toBe("Bearer key-1");
});

test("without tools no tool choice is sent, since endpoints refuse one", async () => {
  await using model = await scriptedModel([{ text: "Noon." }]);
  await ask(model, { toolChoice: "none", maxTokens: 5, temperature: 0 });
  expect(model.requests[0]!.body).toMatchObject({ max_tokens: 5, temperature: 0 });
  expect(model.requests[0]!.body).not.toHaveProperty("tool_choice");
});

test("in mode messages each token is shown, under the id of the final message", async () => {
  await using model = await scriptedModel([{ text: "one two three" }]);
  const { chunks, last } = await stream(model);
  expect(chunks.map((chunk) => chunk.text).filter((text) => text !== "")).toEqual(["one", " two", " three"]);
  expect(new Set(chunks.map((chunk) => chunk.id).filter((id) => id !== undefined))).toEqual(new Set([last.id]));
  expect(last).toBeInstanceOf(AIMessage);
  expect(last.text).toBe("one two three");
  expect(last.usage_metadata).toMatchObject({ output_tokens: 3 });
});

test.each(ways)("an answer %s has a fresh id, a finish reason and the provider's id", async (_, way) => {
  await using model = await scriptedModel([], { otherwise: { text: "Noon.", id: "constant" } });
  const [first, second] = [await way(model), await way(model)];
  expect(first.id).not.toBe(second.id);
  expect(first.id).toMatch(/^[0-9a-f-]{36}$/);
  expect(first.response_metadata).toMatchObject({ finish_reason: "stop", provider_message_id: "constant" });
});

test("a tool call id that the history or the answer has already becomes a fresh one, in chunks too", async () => {
  const history = [
    ...question,
    new AIMessage({ content: "", tool_calls: [{ type: "tool_call", id: "call_0", name: "t", args: {} }] }),
    new ToolMessage({ tool_call_id: "call_0", content: "1" }),
  ];
  const calls = [
    { id: "call_0", name: "t", args: {} },
    { id: "call_1", name: "t", args: {} },
    { id: "call_1", name: "t", args: {} },
  ];
  await using model = await scriptedModel([{ calls }, { calls }]);
  const atOnce = await ask(model, {}, history);
  const { chunks, last } = await stream(model, history);
  for (const answer of [atOnce, last]) {
    const ids = answer.tool_calls!.map((call) => call.id);
    expect(ids[1]).toBe("call_1");
    expect(ids[0]).toMatch(/^\w{9}$/);
    expect(new Set([...ids, "call_0"]).size).toBe(4);
  }
  const streamed = chunks.flatMap((chunk) => chunk.tool_call_chunks ?? []).flatMap(({ id }) => id ?? []);
  expect(streamed).toEqual(last.tool_calls!.map((call) => call.id));
});

test.each(ways)(
  "arguments that broke off, answered %s, are an invalid call and never a repaired one",
  async (_, way) => {
    const calls = [
      { name: "t", args: '{"to": "ann@exa' },
      { name: "t", args: "[1]" },
      { name: "t", args: { ok: true } },
      { name: "t", args: "" },
    ];
    await using model = await scriptedModel([{ calls }]);
    const answer = await way(model);
    expect(answer.tool_calls?.map((call) => call.args)).toEqual([{ ok: true }, {}]);
    expect(answer.invalid_tool_calls?.map((call) => call.args)).toEqual(['{"to": "ann@exa', "[1]"]);
  },
);

test.each(ways)(
  "a history whose invalid calls are answered is one that a strict endpoint accepts (%s)",
  async (_, way) => {
    const calls = [
      { name: "t", args: "{" },
      { name: "t", args: {} },
    ];
    await using model = await scriptedModel([{ calls }, { text: "Done." }]);
    const answer = await way(model);
    const ids = [...answer.tool_calls!, ...answer.invalid_tool_calls!].map((call) => call.id!);
    const answers = ids.map((id) => new ToolMessage({ tool_call_id: id, content: "error" }));
    expect((await ask(model, {}, [...question, answer, ...answers])).text).toBe("Done.");
  },
);

test("an invalid call that nobody answered is not sent back", async () => {
  await using model = await scriptedModel([{ calls: [{ name: "t", args: "{" }] }, { text: "Done." }]);
  const answer = await ask(model);
  await ask(model, {}, [...question, answer, new HumanMessage("Again, please.")]);
  expect(model.requests[1]!.body.messages[1]).not.toHaveProperty("tool_calls");
});

test.each(ways)("text that Postgres refuses is cleaned, and a split emoji is not harmed (%s)", async (_, way) => {
  const step: Step = {
    text: ["nul\0 ", "lone\ud83d ", "\ud83d", "\ude00", " end\ud83d"],
    calls: [{ name: "t", args: { code: "a\0b\udc00" } }],
  };
  await using model = await scriptedModel([step]);
  const answer = await way(model);
  expect(answer.content).toBe("nul lone\ufffd 😀 end\ufffd");
  expect(answer.tool_calls?.[0]?.args).toEqual({ code: "ab\ufffd" });
});

test.each(ways)("what vLLM calls reasoning is kept (%s)", async (_, way) => {
  await using model = await scriptedModel([{ text: "Noon.", reasoning: "It is twelve." }]);
  const answer = await way(model);
  expect(answer.content).toBe("Noon.");
  expect(answer.additional_kwargs).toEqual({ reasoning_content: "It is twelve." });
});
