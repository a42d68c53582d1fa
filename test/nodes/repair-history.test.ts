import { AIMessage, type BaseMessage, HumanMessage, SystemMessage, ToolMessage } from "@langchain/core/messages";
import { messagesStateReducer } from "@langchain/langgraph";
import { convertMessagesToCompletionsMessageParams } from "@langchain/openai";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { historyViolations } from "../../models/demo/validate-history.ts";
import { outgoing } from "../../models/outgoing.ts";
import { repairHistory } from "../../nodes/repair-history.ts";

const human = (id: string): HumanMessage => new HumanMessage({ id, content: `I am ${id}` });
const calling = (id: string, ...callIds: string[]): AIMessage =>
  new AIMessage({
    id,
    content: "",
    tool_calls: callIds.map((callId) => ({ type: "tool_call", id: callId, name: "look", args: { callId } })),
  });
const result = (callId: string, id = `r-${callId}`): ToolMessage =>
  new ToolMessage({ id, tool_call_id: callId, content: "seen" });

const rawCall = (id: string) => ({ id, type: "function", function: { name: "look", arguments: "{}" } });

/** `id` for a message, `id>call` for an answer. */
const outline = (messages: readonly BaseMessage[]): string[] =>
  messages.map((message) => (ToolMessage.isInstance(message) ? `${message.id}>${message.tool_call_id}` : message.id!));

function wire(messages: readonly BaseMessage[]): unknown {
  return convertMessagesToCompletionsMessageParams({ messages: outgoing(messages), model: "any" });
}

test("a sound history is left alone, message for message", () => {
  const history = [human("h1"), calling("a1", "c1", "c2"), result("c1"), result("c2"), human("h2")];
  expect(repairHistory(history)).toEqual({ messages: history, updates: [], repairs: [] });
});

describe("a history that was cut", () => {
  test("gets an answer for each open call", () => {
    const { messages, repairs } = repairHistory([human("h1"), calling("a1", "c1", "c2"), result("c2")]);
    expect(outline(messages)).toEqual(["h1", "a1", "result-c1>c1", "r-c2>c2"]);
    expect(repairs).toEqual([{ type: "missing_result", message_id: "result-c1", call_id: "c1" }]);
    expect(messages[2]).toMatchObject({ status: "error", name: "look" });
    expect(messages[2]!.content).toContain("the run ended before it");
  });

  test("says so when the user went on instead of answering a question", () => {
    const { messages } = repairHistory([human("h1"), calling("a1", "c1"), human("h2")]);
    expect(outline(messages)).toEqual(["h1", "a1", "result-c1>c1", "h2"]);
    expect(messages[2]!.content).toContain("the user went on");
  });

  test("gets late results back to their calls, in the order of the calls", () => {
    const { messages } = repairHistory([calling("a1", "c1", "c2"), human("h1"), result("c2"), result("c1")]);
    expect(outline(messages)).toEqual(["a1", "r-c1>c1", "r-c2>c2", "h1"]);
  });

  test("loses results that answer nothing, and second ones", () => {
    const { messages, repairs } = repairHistory([
      result("c0"),
      calling("a1", "c1"),
      result("c1"),
      result("c1", "again"),
    ]);
    expect(outline(messages)).toEqual(["a1", "r-c1>c1"]);
    expect(repairs.map(({ type }) => type)).toEqual(["orphan_result", "orphan_result"]);
  });
});

test("calls of two turns that share an id are told apart, and each keeps its own result", () => {
  const { messages } = repairHistory([
    calling("a1", "call_0"),
    result("call_0", "first"),
    calling("a2", "call_0"),
    result("call_0", "second"),
  ]);
  const [a1, first, a2, second] = messages as [AIMessage, ToolMessage, AIMessage, ToolMessage];
  expect([first.id, second.id]).toEqual(["first", "second"]);
  expect(first.tool_call_id).toBe(a1.tool_calls![0]!.id);
  expect(second.tool_call_id).toBe(a2.tool_calls![0]!.id);
  expect(first.tool_call_id).not.toBe(second.tool_call_id);
});

test("a result that fits the calls of two turns belongs to the newer: servers that number their calls begin anew", () => {
  const { messages, repairs } = repairHistory([
    calling("a1", "call_0"),
    human("h1"),
    calling("a2", "call_0"),
    result("call_0"),
  ]);
  expect(outline(messages).map((line) => line.split(">")[0])).toEqual(["a1", "result-call_0", "h1", "a2", "r-call_0"]);
  expect(repairs).toContainEqual({ type: "missing_result", message_id: "result-call_0", call_id: "call_0" });
});

test("what else a message says stays, where its calls or their results are named anew", () => {
  const more = { name: "agent", response_metadata: { model: "m" }, additional_kwargs: { reasoning_content: "hm" } };
  const { messages } = repairHistory([
    calling("a1", "c"),
    result("c"),
    new AIMessage({ ...more, id: "a2", content: "so", tool_calls: calling("", "c").tool_calls! }),
    new ToolMessage({ id: "r2", tool_call_id: "c", content: "no", name: "look", status: "error", artifact: { a: 1 } }),
  ]);
  expect(messages[2]).toMatchObject({ ...more, id: "a2", content: "so" });
  expect(messages[3]).toMatchObject({ id: "r2", content: "no", name: "look", status: "error", artifact: { a: 1 } });
});

test.each([
  ["arguments that are no object", { tool_calls: [{ type: "tool_call", id: "c1", name: "look", args: ["a"] }] }],
  ["a call without a name", { tool_calls: [{ type: "tool_call", id: "c1", name: "", args: {} }] }],
  ["calls in the provider's raw copy alone", { additional_kwargs: { tool_calls: [rawCall("c1")] } }],
])("%s are mended, and the repair says which message it was", (_, fields) => {
  const written = Object.assign(new AIMessage({ id: "a1", content: "said" }), fields);
  const { messages, repairs } = repairHistory([human("h1"), written, human("h2")]);
  expect(historyViolations(wire(messages))).toEqual([]);
  expect(repairs).toContainEqual({ type: "malformed_message", message_id: "a1" });
  expect(messages[1]).toMatchObject({ id: "a1", content: "said" });
  expect(repairHistory(messages).repairs).toEqual([]);
});

test("a call whose arguments were no JSON is answered too", () => {
  const broken = new AIMessage({
    id: "a1",
    content: "",
    invalid_tool_calls: [{ type: "invalid_tool_call", id: "c1", name: "look", args: "{", error: "not JSON" }],
  });
  const { messages } = repairHistory([human("h1"), broken]);
  expect(outline(messages)).toEqual(["h1", "a1", "result-c1>c1"]);
  expect(historyViolations(wire(messages))).toEqual([]);
});

test("the same history is repaired in the same way, ids included", () => {
  const broken = (): BaseMessage[] => [calling("a1", "c", "c"), new HumanMessage("no id"), calling("a2", "c")];
  expect(outline(repairHistory(broken()).messages)).toEqual(outline(repairHistory(broken()).messages));
});

describe("any history", () => {
  const callId = fc.constantFrom("c1", "c2", "c3", "c4", "");
  const messageId = fc.option(fc.constantFrom("m1", "m2", "m3", "m4", "m5"), { nil: undefined });
  const content = fc.constantFrom<string | never[]>("", "text", []);
  const withId = (id: string | undefined): { id?: string } => (id === undefined ? {} : { id });
  const ai = fc
    .record({
      id: messageId,
      content,
      valid: fc.array(fc.record({ id: callId, name: fc.constantFrom("look", "") }), { maxLength: 3 }),
      invalid: fc.array(callId, { maxLength: 2 }),
    })
    .map(
      ({ id, content: said, valid, invalid }): BaseMessage =>
        new AIMessage({
          ...withId(id),
          content: said,
          tool_calls: valid.map((call) => ({ ...call, type: "tool_call", args: {} })),
          invalid_tool_calls: invalid.map((lost) => ({ type: "invalid_tool_call", id: lost, name: "look", args: "{" })),
        }),
    );
  const tool = fc
    .record({ id: messageId, content, tool_call_id: callId })
    .map(({ id, ...fields }): BaseMessage => new ToolMessage({ ...withId(id), ...fields }));
  const person = fc
    .record({ id: messageId, content })
    .map(({ id, content: said }): BaseMessage => new HumanMessage({ ...withId(id), content: said }));
  const history = fc.array(fc.oneof({ weight: 3, arbitrary: ai }, { weight: 4, arbitrary: tool }, person), {
    minLength: 1,
    maxLength: 12,
  });

  test("is one that a strict endpoint accepts, once repaired", () => {
    fc.assert(
      fc.property(history, (messages) => {
        const repaired = repairHistory(messages).messages;
        // Tool messages that answer nothing leave nothing to send, and an agent always sends its prompt.
        expect(historyViolations(wire([new SystemMessage("prompt"), ...repaired]))).toEqual([]);
      }),
      { numRuns: 2_000 },
    );
  });

  test("needs no second repair, and the reducer arrives at the same", () => {
    fc.assert(
      fc.property(history, (messages) => {
        const { messages: repaired, updates } = repairHistory(messages);
        expect(repairHistory(repaired)).toEqual({ messages: repaired, updates: [], repairs: [] });
        if (updates.length > 0) expect(outline(messagesStateReducer(messages, updates))).toEqual(outline(repaired));
      }),
      { numRuns: 2_000 },
    );
  });

  test("keeps what people and models said, in order", () => {
    const said = (messages: readonly BaseMessage[]): string[] =>
      messages.filter((message) => !ToolMessage.isInstance(message)).map(({ type, text }) => `${type}: ${text}`);
    fc.assert(
      fc.property(history, (messages) => {
        expect(said(repairHistory(messages).messages)).toEqual(said(messages));
      }),
    );
  });
});
