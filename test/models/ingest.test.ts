/** The habits of servers that the scripted model does not have. */
import { expect, test } from "vitest";
import { type Chunk, Ingest } from "../../models/ingest.ts";

/** A chunk as it might come over the wire, whatever the types promise. */
const chunk = (choice: object) => ({ id: "x", choices: [choice] }) as unknown as Chunk;

const call = (index: number, id: string | undefined, args: string) =>
  chunk({ delta: { tool_calls: [{ index, id, function: { name: "t", arguments: args } }] } });

test("calls that all come with index 0 are told apart by their ids", () => {
  const ingest = new Ingest([]);
  const out = [call(0, "a", "{}"), call(0, "b", '{"x":1}')].map((part) => ingest.chunk(part));
  expect(ingest.calls).toMatchObject([
    { id: "a", args: "{}" },
    { id: "b", args: '{"x":1}' },
  ]);
  expect(out.map((part) => part.choices[0]!.delta.tool_calls![0]!.index)).toEqual([0, 1]);
});

test("an id and a name that come with every part of a call are handed on once", () => {
  const ingest = new Ingest([]);
  const out = [call(0, "a", '{"x"'), call(0, "a", ":1}")].map((part) => ingest.chunk(part));
  expect(ingest.calls).toMatchObject([{ id: "a", name: "t", args: '{"x":1}' }]);
  expect(out[1]!.choices[0]!.delta.tool_calls).toEqual([{ index: 0, function: { arguments: ":1}" } }]);
});

test("a call without an id gets one", () => {
  const ingest = new Ingest([]);
  ingest.chunk(call(0, undefined, "{}"));
  expect(ingest.calls[0]!.id).toMatch(/^\w{9}$/);
});

test("missing roles, deltas, choices and finish reasons do no harm", () => {
  const ingest = new Ingest([]);
  const first = ingest.chunk(chunk({ delta: { content: "a", tool_calls: null } }));
  ingest.chunk({ id: "x" } as unknown as Chunk);
  ingest.chunk(chunk({ finish_reason: "stop" }));
  expect(first.choices[0]!.delta).toEqual({ role: "assistant", content: "a" });
  expect(ingest).toMatchObject({ text: "a", finishReason: "stop", calls: [] });
});
