import { AIMessage, AIMessageChunk, HumanMessage } from "@langchain/core/messages";
import { Command, Send } from "@langchain/langgraph";
import fc from "fast-check";
import { expect, test } from "vitest";
import { toWire } from "../../lib/wire.ts";

test("messages at any depth become flat objects with their type", () => {
  const call = { name: "f", args: { n: 1 }, id: "c1", type: "tool_call" as const };
  const value = {
    list: [new HumanMessage({ content: "hi", id: "h" })],
    deep: { m: new AIMessage({ content: "", tool_calls: [call] }) },
  };

  expect(toWire(value)).toMatchObject({
    list: [{ type: "human", content: "hi", id: "h" }],
    deep: { m: { type: "ai", content: "", tool_calls: [call] } },
  });
  expect(toWire(new AIMessageChunk({ content: "x" }))).toMatchObject({
    type: "ai",
    content: "x",
    tool_call_chunks: [],
  });
});

test("what is not JSON is written as text or left out", () => {
  const at = new Date(0);

  expect(toWire({ at, bad: new Date(Number.NaN), none: undefined, fn: () => 1, big: 2n, nan: Number.NaN })).toEqual({
    at: at.toISOString(),
    bad: null,
    big: "2",
    nan: null,
  });
  expect(toWire([undefined, new Set([1]), new Map([["k", at]]), Uint8Array.of(1, 2)])).toEqual([
    null,
    [1],
    { k: at.toISOString() },
    "AQI=",
  ]);
  expect(toWire(new Send("node", { at }))).toMatchObject({ node: "node", args: { at: at.toISOString() } });
  expect(toWire(new Command({ goto: "a" }))).toMatchObject({ goto: ["a"] });
});

test("errors show name and message, and no stack", () => {
  expect(toWire({ error: new TypeError("Boo!") })).toEqual({ error: { error: "TypeError", message: "Boo!" } });
});

test("a cycle ends, and a value that is only there twice is written twice", () => {
  const loop: Record<string, unknown> = { shared: { a: 1 } };
  loop["again"] = loop["shared"];
  loop["self"] = [loop];

  expect(toWire(loop)).toEqual({ shared: { a: 1 }, again: { a: 1 }, self: ["[circular]"] });
});

test("text that Postgres or UTF-8 refuses is cleaned, keys too", () => {
  expect(toWire({ "a\0": "b\0\ud800" })).toEqual({ a: "b\ufffd" });
});

test("plain JSON stays what it is", () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      const value: unknown = JSON.parse(text);
      fc.pre(!text.includes("\\u0000") && !/\\ud[89a-f]/i.test(text));
      expect(JSON.stringify(toWire(value))).toBe(JSON.stringify(value));
    }),
  );
});
