/** What a request carries that the history does not, and the other way round. */
import { AIMessage, type BaseMessage, HumanMessage, ToolMessage } from "@langchain/core/messages";
import { expect, test } from "vitest";
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
