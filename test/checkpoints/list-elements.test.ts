/** Lists of which most is as it was: what is stored and read of them is what it would be if nobody remembered anything. */
import { AIMessage, HumanMessage, ToolMessage } from "@langchain/core/messages";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Chunk, textOf } from "../../checkpoints/chunk.ts";
import { chunksOf } from "../../checkpoints/chunks.ts";
import { loadChunks } from "../../checkpoints/load-values.ts";
import { pieceText } from "../../checkpoints/pieces.ts";
import { loadItem, Serializer } from "../../checkpoints/serializer.ts";
import { chunksOfRow, columnsOf, itemsOf } from "../../checkpoints/stored-chunks.ts";
import { planVersion } from "../../checkpoints/versions.ts";
import { states, WithJson } from "./states.ts";

const serde = new Serializer();

/** Or the error: the stock serializer cannot write everything. */
const textsOf = (value: unknown, before?: readonly Chunk[]) =>
  chunksOf(value, serde, before).then((chunks) => chunks?.map(({ text }) => text), String);

/** What a row with the chunks is read back as. */
function stored(chunks: readonly Chunk[]): Chunk[] {
  const items = new Map(itemsOf(chunks).map(({ hash, item }) => [hash, pieceText(hash, item)]));
  return chunksOfRow(columnsOf(chunks), (hash) => items.get(hash) ?? expect.fail("an item is missing"));
}

/** All objects that can be reached from a value, itself included. */
function reachable(value: unknown, found = new Set<object>()): Set<object> {
  if (typeof value !== "object" || value === null || found.has(value)) return found;
  found.add(value);
  const inside = value instanceof Map || value instanceof Set ? [...value].flat() : [];
  for (const item of [...Object.values(value), ...inside]) reachable(item, found);
  return found;
}

type Change = (target: object, key: string, value: unknown) => void;
type Fields = Record<string, unknown>;

/** What code may do to an object that somebody else holds, too. */
const changes: Readonly<Record<string, Change>> = {
  set: (target, key, value) => void Reflect.set(target, key, value),
  add: (target, _, value) => void Reflect.set(target, "added", value),
  hide: (target, key, value) => void Reflect.defineProperty(target, key, { value, configurable: true }),
  show: (target, key, value) =>
    void Reflect.defineProperty(target, key, { get: () => value, enumerable: true, configurable: true }),
  remove: (target, key) => void Reflect.deleteProperty(target, key),
  moveToEnd(target, key) {
    const value = (target as Fields)[key];
    if (Reflect.deleteProperty(target, key)) Reflect.set(target, key, value);
  },
  prototypeKey: (target, _, value) =>
    void Reflect.defineProperty(target, "__proto__", { value, enumerable: true, configurable: true, writable: true }),
  withoutPrototype: (target) => void Reflect.setPrototypeOf(target, null),
  withJson: (target) => void Reflect.setPrototypeOf(target, WithJson.prototype),
  ownJson: (target, _, value) => void Reflect.set(target, "toJSON", () => value),
  freeze: (target) => void Object.freeze(target),
  symbol: (target, _, value) => void Reflect.set(target, Symbol("s"), value),
  grow: (target, _, value) => void (Array.isArray(target) && target.push(value)),
  shrink: (target) => void (Array.isArray(target) && Reflect.set(target, "length", Math.max(target.length - 1, 0))),
};

const constants = [0, -0, NaN, Infinity, "", "text", "\ud800", "1", true, null, undefined, 1n, Symbol("s")];
/** Each time other objects: the next change may be one to them. */
const simple = fc.oneof(
  fc.constantFrom<unknown>(...constants),
  fc
    .constantFrom<() => unknown>(
      () => ({}),
      () => [],
      () => [undefined],
      () => ({ lc: 1, type: "constructor" }),
      () => ({ lg_name: "Send" }),
      () => new Date(0),
      () => new Date(NaN),
      () => /x/,
      () => () => 1,
    )
    .map((make) => make()),
);
const step = fc.record({
  change: fc.constantFrom(...Object.keys(changes)),
  at: fc.nat(),
  key: fc.nat(),
  value: fc.oneof(simple, fc.nat({ max: 9 })),
});
const newElements = fc.array(states(), { maxLength: 2 });
const steps = fc.array(
  fc.oneof(
    { arbitrary: step.map((given) => ({ kind: "change" as const, ...given })), weight: 6 },
    newElements.map((elements) => ({ kind: "append" as const, elements })),
    newElements.map((elements) => ({ kind: "prepend" as const, elements })),
    fc.nat().map((at) => ({ kind: "drop" as const, at })),
    fc.constantFrom({ kind: "read" as const }, { kind: "read from rows" as const }),
  ),
  { maxLength: 8 },
);

type Step = typeof steps extends fc.Arbitrary<(infer T)[]> ? T : never;

/** The list after a step: another one, with the same elements. */
function after(list: readonly unknown[], todo: Step, known: readonly Chunk[]): unknown[] {
  switch (todo.kind) {
    case "append":
      return [...list, ...todo.elements];
    case "prepend":
      return [...todo.elements, ...list];
    case "drop":
      return list.toSpliced(todo.at % (list.length + 1), 1);
    case "change": {
      const objects = [...reachable(list)].slice(1);
      const target = objects[todo.at % objects.length];
      const keys = target ? Object.keys(target) : [];
      try {
        if (target) changes[todo.change]?.(target, keys[todo.key % keys.length] ?? "first", todo.value);
      } catch {
        // Some objects refuse some changes.
      }
      return [...list];
    }
    case "read":
    case "read from rows":
      return known.length > 0 ? (loadChunks(known) as unknown[]) : [...list];
  }
}

test("a list is serialized as if for the first time, whatever was done in place to what it holds", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(states(), { maxLength: 5 }), steps, async (initial, todo) => {
      let list: unknown[] = initial;
      let known: readonly Chunk[] = [];
      for (const each of todo) {
        if (each.kind === "read from rows") known = stored(known);
        list = after(list, each, known);
        const texts = await textsOf(list);
        expect(await textsOf(list, known)).toEqual(texts);
        const chunks = typeof texts === "string" ? undefined : await chunksOf(list, serde, known);
        // As for the next step: now what was new is known.
        expect(await textsOf(list, chunks)).toEqual(texts);
        const base = planVersion("1", known, undefined).known;
        known = chunks ? planVersion("2", chunks, base).known.chunks : [];
      }
    }),
    { numRuns: 250 },
  );
});

const settled = (read: () => unknown): unknown => {
  try {
    return { value: read() };
  } catch (error) {
    return { code: (error as { code?: string }).code };
  }
};

test("a value is read from its pieces as from its text, again and again, and no two reads share an object", async () => {
  const long = fc.integer({ min: 0, max: 4 }).map((n) => '],{"\\":1}[💡'.repeat(n * 1_000));
  const listWithJson = fc.array(long).map((inner) => Object.assign([], { toJSON: () => inner }));
  const value = fc.oneof(states(), fc.array(fc.oneof(states(), long)), long, listWithJson, fc.array(listWithJson));
  await fc.assert(
    fc.asyncProperty(value, async (any) => {
      const chunks = (await chunksOf(any, serde)) ?? [];
      for (const pieces of [chunks, stored(chunks)]) {
        const expected = settled(() => loadItem(textOf(pieces)));
        const [once, again] = [1, 2].map(() => settled(() => loadChunks(pieces)));
        expect([once, again]).toEqual([expected, expected]);
        const objects = reachable(once);
        expect([...reachable(again)].filter((object) => objects.has(object))).toEqual([]);
        expect(textOf(pieces)).toBe(textOf(chunks));
      }
    }),
    { numRuns: 200 },
  );
});

const conversation = (length: number) =>
  Array.from({ length }, (_, i) =>
    i % 3 === 0
      ? new HumanMessage({ id: `${i}`, content: [{ type: "text", text: `Question ${i}` }] })
      : i % 3 === 1
        ? new AIMessage({ id: `${i}`, content: "", tool_calls: [{ id: `${i}`, name: "look", args: { at: i } }] })
        : new ToolMessage({ id: `${i}`, tool_call_id: `${i - 1}`, content: `A long result. `.repeat(1_000) }),
  );

test.each([
  ["grew", (list: unknown[]) => [...list, new HumanMessage("one more")]],
  ["lost its first elements", (list: unknown[]) => list.slice(3)],
  ["lost one in the middle", (list: unknown[]) => list.toSpliced(10, 1)],
  ["has another one in the middle", (list: unknown[]) => list.with(10, new HumanMessage("edited"))],
])("of a list that %s only what is new is serialized, also after it was read", async (_, change) => {
  const before = (await chunksOf(conversation(30), serde)) ?? [];
  const read = loadChunks(before) as unknown[];

  const chunks = (await chunksOf(change(read), serde, before)) ?? [];

  const fresh = chunks.filter((chunk) => !before.includes(chunk));
  expect(fresh.length).toBeLessThanOrEqual(1);
  expect(textOf(chunks)).toBe(textOf((await chunksOf(change(read), serde)) ?? []));
});
