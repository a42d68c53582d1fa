/** Values cut to pieces: together they are what the stock serializer writes, whatever the value. */
import { AIMessage, HumanMessage, ToolMessage } from "@langchain/core/messages";
import { MemorySaver } from "@langchain/langgraph";
import { DeltaSnapshot } from "@langchain/langgraph-checkpoint";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Chunk, textOf } from "../../checkpoints/chunk.ts";
import { chunksOf } from "../../checkpoints/chunks.ts";
import { pieceText } from "../../checkpoints/pieces.ts";
import { chunksOfRow, columnsOf, itemsOf } from "../../checkpoints/stored-chunks.ts";
import { type KnownVersion, planVersion, versionOn, wholeVersion } from "../../checkpoints/versions.ts";

const { serde } = new MemorySaver();

async function whole(value: unknown): Promise<string> {
  return Buffer.from((await serde.dumpsTyped(value))[1]).toString();
}

/** What a row with the chunks is read back as. */
function stored(chunks: readonly Chunk[]): Chunk[] {
  const items = new Map(itemsOf(chunks).map(({ hash, item }) => [hash, pieceText(hash, item)]));
  return chunksOfRow(columnsOf(chunks), (hash) => items.get(hash) ?? expect.fail("an item is missing"));
}

const longText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc
    .string({ unit: fc.constantFrom('"', "\\", "a", "é", "💡", "\n", "\0", "\u0001", "\ud800") })
    .map((s) => s.repeat(40)),
  fc.integer({ min: 0, max: 30_000 }).map((n) => "ab\\💡".repeat(n / 4)),
);
const message = fc.oneof(
  longText.map((content) => new HumanMessage({ content, id: "h" })),
  longText.map((content) => new AIMessage({ content, tool_calls: [{ name: "f", args: { content }, id: "c" }] })),
  longText.map((content) => new ToolMessage({ content, tool_call_id: "c" })),
);
const leaf = fc.oneof(
  longText,
  message,
  fc.anything({
    withDate: true,
    withMap: true,
    withSet: true,
    withTypedArray: true,
    withNullPrototype: true,
    withSparseArray: true,
  }),
  fc.uint8Array(),
  longText.map((text) => new Error(text)),
  fc.constantFrom(undefined, null, /x/g, () => 1, Symbol("s"), 10n),
);
const value = fc.oneof(
  leaf,
  fc.array(leaf, { maxLength: 6 }),
  fc.dictionary(longText, fc.oneof(leaf, fc.array(leaf, { maxLength: 4 })), { maxKeys: 5 }),
  fc.array(message, { maxLength: 6 }).map((list) => new DeltaSnapshot(list)),
);

test("the pieces of any value are together its stock serialization, before they are stored and after", async () => {
  await fc.assert(
    fc.asyncProperty(value, async (any) => {
      const chunks = await chunksOf(any, serde);
      if (!chunks) return;
      const expected = await whole(any);
      expect(textOf(chunks)).toBe(expected);
      expect(textOf(stored(chunks))).toBe(expected);
    }),
    { numRuns: 1_000 },
  );
});

test("a value that contains itself, and bytes that stand alone, are left to the serializer", async () => {
  const circle: unknown[] = [{ deep: {} }];
  (circle[0] as { deep: object }).deep = circle;

  for (const peculiar of [circle, { list: circle }, new Uint8Array([1, 2]), undefined, [1n]]) {
    expect(await chunksOf(peculiar, serde)).toBeUndefined();
  }
});

test("several elements that cannot be serialized are one error", async () => {
  const refused = () => {
    const circle: unknown[] = [];
    circle.push(circle);
    return Object.freeze(circle);
  };

  await expect(chunksOf([refused(), refused()], serde)).rejects.toThrow(TypeError);
});

test("a version is read back from the one before and what is new in it, however the value has changed", async () => {
  const edits = fc.array(fc.array(fc.oneof(fc.constantFrom("a", "b", "c"), longText), { maxLength: 12 }), {
    maxLength: 8,
  });
  await fc.assert(
    fc.asyncProperty(edits, async (values) => {
      let base: KnownVersion | undefined;
      for (const [i, each] of values.entries()) {
        const chunks = await chunksOf(each, serde);
        if (!chunks) continue;
        const plan = planVersion(String(i), chunks, base);
        // Read from a row that refers to everything; what only the base leads to is not sent again.
        const own = plan.own;
        const read = plan.delta && base ? versionOn(base, own, { version: "n", ...plan.delta }).chunks : own;
        expect(textOf(read)).toBe(await whole(each));
        expect(textOf(plan.known.chunks)).toBe(await whole(each));
        base = plan.known;
      }
    }),
    { numRuns: 300 },
  );
});

test.each([
  [
    "a list of long messages",
    (n: number) => Array.from({ length: n }, (_, i) => new HumanMessage(`${i} `.repeat(100))),
  ],
  ["a list of short messages", (n: number) => Array.from({ length: n }, (_, i) => new HumanMessage(`${i}`))],
  ["a list of numbers", (n: number) => Array.from({ length: n }, (_, i) => i)],
  ["a list deep in an object", (n: number) => ({ a: { b: { c: Array.from({ length: n }, (_, i) => ({ i })) } } })],
  ["a text that grows", (n: number) => "0123456789".repeat(20 * n)],
  [
    "a map of files",
    (n: number) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`f${i}`, `${i} `.repeat(50)])),
  ],
])("what is written of %s does not grow with it", async (_, of) => {
  const bytes = async (from: number, to: number): Promise<number> => {
    const first = (await chunksOf(of(from), serde)) ?? [];
    let base: KnownVersion = wholeVersion("0", first);
    let written = 0;
    for (let n = from + 1; n <= to; n += 1) {
      const plan = planVersion(String(n), (await chunksOf(of(n), serde)) ?? [], base);
      const { blob, items } = columnsOf(plan.own);
      const fresh = itemsOf(plan.fresh).reduce((sum, { item }) => sum + item.length, 0);
      written += blob.length + 16 * items.length + fresh;
      base = plan.known;
    }
    return written / (to - from);
  };

  expect(await bytes(900, 1_000)).toBeLessThan(2 * (await bytes(50, 150)) + 100);
});

test("what has to be read of a list that is edited for ever is at most twice the list", async () => {
  let list = Array.from({ length: 50 }, (_, i) => `${i} `.repeat(100));
  let base: KnownVersion = wholeVersion("0", (await chunksOf(list, serde)) ?? []);
  let sinceWhole = 0;
  for (let n = 1; n <= 500; n += 1) {
    list = list.with(n % 50, `${n} `.repeat(100));
    const { delta, own, known } = planVersion(String(n), (await chunksOf(list, serde)) ?? [], base);
    sinceWhole = delta ? sinceWhole + own.reduce((sum, { text }) => sum + text.length, 0) : 0;
    expect(sinceWhole).toBeLessThan(1.1 * JSON.stringify(list).length);
    base = known;
  }
});

test("a removed and an edited element cost what they are, not what stands around them", async () => {
  const list = Array.from({ length: 200 }, (_, i) => `${i} `.repeat(100));
  const base: KnownVersion = wholeVersion("1", (await chunksOf(list, serde)) ?? []);

  const removed = planVersion("2", (await chunksOf(list.toSpliced(0, 3), serde)) ?? [], base);
  const edited = planVersion("2", (await chunksOf(list.with(100, "edited"), serde)) ?? [], base);

  expect(removed).toMatchObject({ needs: "1", delta: { head: 0, tail: 197 } });
  expect(removed.own).toHaveLength(1); // the new first one, after a bracket instead of a comma
  expect(edited).toMatchObject({ delta: { head: 100, tail: 100 } });
  expect(edited.own.map(({ text }) => text)).toEqual([',"edited"']);
});

test("what a user said is one piece in the input, in what a node returned and in the list of messages", async () => {
  const content = "Where does the time go? ".repeat(20);
  const hashes = async (any: unknown) => itemsOf((await chunksOf(any, serde)) ?? []).map(({ hash }) => hash);

  const [input] = await hashes({ messages: [{ role: "user", content }] });

  expect(input).toBeDefined();
  expect(await hashes(new HumanMessage(content))).toEqual([input]);
  expect(await hashes([new AIMessage("short"), new HumanMessage({ content, id: "with an id" })])).toEqual([input]);
});
