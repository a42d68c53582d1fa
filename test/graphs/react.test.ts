import { describe, expect, test } from "vitest";
import { CompiledStateGraph } from "@langchain/langgraph";
import { getInputTypeSchema } from "@langchain/langgraph/zod/schema";
import { graph } from "../../graphs/react.ts";
import { currentTime } from "../../tools/current-time.ts";
import { Conversation, lastAnswer, modelOfThisFile, results, toolbox } from "./agent.ts";

const model = modelOfThisFile();
const sum = { name: "add", args: { a: 2, b: 3 } };

test("the exported graph is compiled, leaves the checkpointer to its host, and takes messages only", () => {
  expect(graph).toBeInstanceOf(CompiledStateGraph);
  expect(graph.checkpointer).toBeUndefined();
  const { properties } = getInputTypeSchema(graph) as { properties: object };
  expect(Object.keys(properties)).toEqual(["messages"]);
  expect(properties).toMatchObject({ messages: { langgraph_type: "messages", type: "array" } });
});

test("the model calls a tool, reads its result and answers", async () => {
  model.current.script({ calls: [sum] }, { text: "Five." });
  const messages = await new Conversation(toolbox().tools).say("2 + 3?");
  expect(messages.map(({ type }) => type)).toEqual(["human", "ai", "tool", "ai"]);
  expect(results(messages)).toEqual([{ status: "ok", result: 5 }]);
  expect(messages.at(-1)!.text).toBe("Five.");
  expect(model.current.requests.at(-1)!.body.messages.map(({ role }) => role)).toEqual([
    "system",
    "user",
    "assistant",
    "tool",
  ]);
});

test("a tool of the house runs on a thread", async () => {
  model.current.script({ calls: [{ name: "current_time", args: {} }] }, { text: "It is late." });
  const messages = await new Conversation([currentTime]).say("What time is it?");
  expect(results(messages)).toMatchObject([{ status: "ok", result: { time_zone: "UTC" } }]);
});

test("side by side calls are answered in the order of the calls", async () => {
  const calls = Array.from({ length: 12 }, (_, a) => ({ name: "add", args: { a, b: 0 }, id: `call_${a}` }));
  model.current.script({ calls }, { text: "Done." });
  const messages = await new Conversation(toolbox().tools).say("Add a lot");
  expect(results(messages).map(({ result }) => result)).toEqual(calls.map(({ args }) => args.a));
});

describe("a call that can't run is answered, and the model goes on", () => {
  test.each([
    ["a tool that does not exist", { name: "fly", args: {} }, { code: "UNKNOWN_TOOL", message: "add, fail, pay" }],
    ["arguments that are no JSON", { name: "add", args: '{"a": 1, ' }, { code: "INVALID_ARGS", message: "JSON" }],
    [
      "arguments that the tool does not take",
      { name: "add", args: { a: "1" } },
      { code: "INVALID_ARGS", message: "a" },
    ],
    [
      "unreadable arguments of a tool that needs approval: nobody is asked",
      { name: "pay", args: { to: "bob" } },
      { code: "INVALID_ARGS", message: "cents" },
    ],
    [
      "a failure that the tool foresaw",
      { name: "fail", args: { foreseen: true } },
      { code: "FAILED", message: "shop" },
    ],
    ["a tool that throws", { name: "fail", args: { foreseen: false } }, { code: "INTERNAL", message: "fail failed" }],
  ])("%s", async (_, call, { code, message }) => {
    model.current.script({ calls: [call] }, { text: "I see." });
    const { tools, paid } = toolbox();
    const messages = await new Conversation(tools).say("Go");
    expect(results(messages)).toEqual([{ status: "error", code, message: expect.stringContaining(message) as string }]);
    expect(JSON.stringify(messages)).not.toContain("secret");
    expect(lastAnswer(messages).text).toBe("I see.");
    expect(paid).toEqual([]);
  });

  test("a valid call beside an unreadable one runs", async () => {
    model.current.script({ calls: [{ name: "add", args: "{" }, sum] }, { text: "I see." });
    const messages = await new Conversation(toolbox().tools).say("Go");
    expect(results(messages)).toMatchObject([{ status: "ok", result: 5 }, { code: "INVALID_ARGS" }]);
  });
});

describe("an empty answer", () => {
  test("is asked for once more, with a note that is not kept", async () => {
    model.current.script({ text: "" }, { text: "Here I am." });
    const messages = await new Conversation(toolbox().tools).say("Hello?");
    expect(messages.map(({ text }) => text)).toEqual(["Hello?", "Here I am."]);
    expect(model.current.requests.at(-1)!.body.messages.at(-1)).toMatchObject({ role: "user" });
  });

  test("ends in a sentence and a mark when it stays empty", async () => {
    model.current.script({ text: "" }, { text: " \n" });
    const answer = lastAnswer(await new Conversation(toolbox().tools).say("Hello?"));
    expect(answer.text).toContain("I have no answer");
    expect(answer.response_metadata["degraded"]).toEqual({ reason: "empty_answer", served_by: "runtime" });
  });
});

test("system messages of a client join the agent's prompt, in front", async () => {
  model.current.script({ text: "Ahoy." });
  const conversation = new Conversation(toolbox().tools);
  await conversation.agent.invoke(
    {
      messages: [
        { role: "user", content: "Hi" },
        { role: "system", content: "Talk like a pirate." },
      ],
    },
    conversation.config,
  );
  const [system, ...rest] = model.current.requests.at(-1)!.body.messages;
  expect(system!.content).toContain("Talk like a pirate.");
  expect(rest.map(({ role }) => role)).toEqual(["user"]);
});

test("the prompt of a thread is a prefix of the next one", async () => {
  model.current.script({ calls: [sum] }, { text: "Five." }, { text: "Again five." });
  const conversation = new Conversation(toolbox().tools);
  await conversation.say("2 + 3?");
  await conversation.say("Sure?");
  const bodies = model.current.requests.slice(-3).map(({ body }) => body);
  for (const [at, { messages, tools }] of bodies.slice(1).entries()) {
    const before = bodies[at]!;
    expect(messages.slice(0, before.messages.length)).toEqual(before.messages);
    expect(tools).toEqual(before.tools);
  }
});

test("tokens stream in mode messages, with one id for all parts of a message", async () => {
  model.current.script({ text: "One two three." });
  const conversation = new Conversation(toolbox().tools);
  const stream = await conversation.agent.stream(
    { messages: [{ role: "user", content: "Count" }] },
    { ...conversation.config, streamMode: "messages" },
  );
  const parts = [];
  for await (const [message] of stream) parts.push(message);
  const texts = parts.map(({ text }) => text).filter((text) => text !== "");
  expect(texts).toEqual(["One", " two", " three."]);
  expect(new Set(parts.map(({ id }) => id)).size).toBe(1);
  expect((await conversation.state()).messages.at(-1)!.id).toBe(parts[0]!.id);
});

test("settings that make no sense end the run with a clear error", async () => {
  const conversation = new Conversation(toolbox().tools, { max_model_turns: 1_000 });
  await expect(conversation.say("Go")).rejects.toThrow("max_model_turns");
});
