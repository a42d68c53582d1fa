/** What a request carries that the history does not, and the other way round. */
import {
  AIMessage,
  type BaseMessage,
  ChatMessage,
  FunctionMessage,
  HumanMessage,
  SystemMessage,
  ToolMessage,
} from "@langchain/core/messages";
import { convertMessagesToCompletionsMessageParams } from "@langchain/openai";
import { expect, test } from "vitest";
import { historyViolations } from "../../models/demo/validate-history.ts";
import { outgoing } from "../../models/outgoing.ts";

const human = new HumanMessage("hello");
const calling = new AIMessage({ content: "", tool_calls: [{ type: "tool_call", id: "c", name: "look", args: {} }] });
const result = new ToolMessage({ content: "seen", tool_call_id: "c" });
const types = (messages: readonly BaseMessage[]): string[] => outgoing(messages).map(({ type }) => type);

test("a sound history goes out as it is", () => {
  const history = [human, calling, result, new AIMessage("well"), human];
  expect(outgoing(history)).toEqual(history);
});

test("a user who speaks after a tool speaks after an assistant: Mistral refuses the former", () => {
  expect(types([human, calling, result, human])).toEqual(["human", "ai", "tool", "ai", "human"]);
});

test("somebody asks: an assistant that spoke last is told to go on", () => {
  expect(types([human, new AIMessage("well")])).toEqual(["human", "ai", "human"]);
  expect(types([])).toEqual(["human"]);
});

test("an assistant that said nothing is left out", () => {
  expect(types([human, new AIMessage(""), human])).toEqual(["human", "human"]);
  expect(types([human, calling, result, new AIMessage(""), human])).toEqual(["human", "ai", "tool", "ai", "human"]);
});

const wire = (...messages: BaseMessage[]) =>
  convertMessagesToCompletionsMessageParams({
    messages: outgoing([new SystemMessage("p"), ...messages]),
    model: "any",
  });

test("of what another provider has put into an assistant's content the text goes out, and its calls as ours do", () => {
  const picture = { type: "image_url", image_url: { url: "data:," } };
  const call = { type: "tool_use", id: "c", name: "look", input: {} };
  const blocks = (...content: object[]) => new AIMessage({ content: content as { type: string }[] });
  const sent = wire(
    human,
    blocks({ type: "reasoning", reasoning: "hm" }),
    blocks({ type: "text", text: "look: " }, picture, { type: "text", text: "a cat" }),
    new AIMessage({ content: [call], tool_calls: calling.tool_calls! }),
    result,
  );
  expect(historyViolations(sent)).toEqual([]);
  expect(sent.slice(2)).toEqual([
    { role: "assistant", content: "look: a cat" },
    { role: "assistant", content: "", tool_calls: [expect.objectContaining({ id: "c" })] },
    expect.objectContaining({ role: "tool", tool_call_id: "c" }),
  ]);
});

test("a role that endpoints do not know speaks as a user, one that is an assistant's as an assistant", () => {
  const sent = wire(
    human,
    new ChatMessage({ role: "assistant", content: "well" }),
    new ChatMessage({ role: "critic", content: "no" }),
    new ChatMessage({ role: "system", content: "obey" }),
    new FunctionMessage({ name: "look", content: "seen" }),
  );
  expect(historyViolations(sent)).toEqual([]);
  expect(sent.slice(2)).toEqual([
    { role: "assistant", content: "well" },
    { role: "user", content: "no" },
    { role: "user", content: "obey" },
    { role: "user", content: "seen" },
  ]);
});
