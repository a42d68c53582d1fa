/**
 * A value as the pieces of its JSON text, cut where lists and objects grow or change: joined, they are exactly what the
 * serializer makes of the value as a whole. A list of messages has one piece for each message.
 */
import { DeltaSnapshot, type SerializerProtocol } from "@langchain/langgraph-checkpoint";
import { Chunk } from "./chunk.ts";
import { type Unchanged, unchangedOf } from "./list-elements.ts";
import { MAX_PIECE, segmentsOf } from "./segments.ts";
import { dumpItem } from "./serializer.ts";

/** How the serializer marks a snapshot of a channel that is else kept as its writes. */
const SNAPSHOT = { lc: 2, type: "delta_snapshot" };

/** What the serializer writes where an object contains itself: where that is depends on the whole. */
const CIRCLE = '"[Circular]"';

/**
 * The chunks of a value; undefined for one that has to be serialized as a whole. What of a list is as it was `before` has
 * the chunks from there. Everything is serialized before this function returns its promise: afterwards the graph may
 * change what it handed over.
 */
export async function chunksOf(
  value: unknown,
  serde: SerializerProtocol,
  before: readonly Chunk[] = [],
): Promise<Chunk[] | undefined> {
  if (isList(value)) return chunksOfList(value, serde, unchangedOf(value, before));
  if (value instanceof Uint8Array || ["undefined", "function", "symbol"].includes(typeof value)) return undefined;
  const chunks: Target["chunks"] = [];
  if (isRecord(value)) addRecord(value, { chunks, serde });
  else if (value instanceof DeltaSnapshot) addRecord({ ...SNAPSHOT, value: value.value }, { chunks, serde });
  else chunks.push(element("", value, serde));
  return (await all(chunks))?.flatMap(partsOf);
}

async function chunksOfList(
  list: readonly unknown[],
  serde: SerializerProtocol,
  { head, tail, headChunks, tailChunks }: Unchanged,
): Promise<Chunk[] | undefined> {
  const changed = list.slice(head, list.length - tail);
  // Not by `map`: a list may have holes, and its length is what counts.
  const chunks = await all(Array.from(changed, (item, i) => element(head + i === 0 ? "[" : ",", item, serde)));
  const elements = chunks?.map(partsOf);
  for (const [first, ...others] of elements ?? []) if (first) first.size = 1 + others.length;
  return elements && [...headChunks, ...elements.flat(), ...tailChunks];
}

/** Undefined where one of them is. All are waited for at once: a second one that fails is not left alone with it. */
async function all(chunks: Target["chunks"]): Promise<Chunk[] | undefined> {
  const found = await Promise.all(chunks.map(async (chunk) => chunk));
  return found.every((chunk) => chunk !== undefined) ? found : undefined;
}

interface Target {
  readonly chunks: (Chunk | Promise<Chunk | undefined>)[];
  readonly serde: SerializerProtocol;
}

function addList(lead: string, list: readonly unknown[], { chunks, serde }: Target): void {
  // By index, not by iteration: a list may have holes, and its length is what counts.
  for (let i = 0; i < list.length; i += 1) chunks.push(element(i === 0 ? `${lead}[` : ",", list[i], serde));
  chunks.push(new Chunk("]", { bodyAt: 1 }));
}

function addRecord(record: Readonly<Record<string, unknown>>, { chunks, serde }: Target): void {
  let lead = "{";
  for (const [key, value] of Object.entries(record)) {
    if (typeof value === "function" || typeof value === "symbol") continue;
    if (isList(value)) addList(`${lead}${JSON.stringify(key)}:`, value, { chunks, serde });
    else chunks.push(element(`${lead}${JSON.stringify(key)}:`, value, serde));
    lead = ",";
  }
  chunks.push(new Chunk(lead === "{" ? "{}" : "}", { bodyAt: 1 }));
}

function element(lead: string, value: unknown, serde: SerializerProtocol): Chunk | Promise<Chunk | undefined> {
  const text = dumpItem(value);
  return text === undefined ? unusual(lead, value, serde) : new Chunk(lead + text, { bodyAt: lead.length });
}

/** Inside a list, since a value that stands alone may have a form of its own (bytes). Undefined for what has no JSON. */
async function unusual(lead: string, value: unknown, serde: SerializerProtocol): Promise<Chunk | undefined> {
  const [type, bytes] = await serde.dumpsTyped([value]);
  const list = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString();
  // In the place of a list with what it cannot serialize the serializer puts a text that says so.
  if (type !== "json" || !list.startsWith("[") || list.includes(CIRCLE)) return undefined;
  return new Chunk(lead + list.slice(1, -1), { bodyAt: lead.length });
}

/** A long element is several chunks, so that it can change in one place. */
function partsOf(chunk: Chunk): Chunk[] {
  if (chunk.length <= MAX_PIECE) return [chunk];
  return segmentsOf(chunk.text, chunk.bodyAt).map(({ text, isString }) => new Chunk(text, { isString }));
}

/** Lists and objects that JSON shows as they are. An object with a form of its own is one element. */
function isList(value: unknown): value is unknown[] {
  return Array.isArray(value) && value.length > 0 && !("toJSON" in value);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  // `lg_name` marks what the library sends to nodes; the serializer keeps part of it only.
  return (prototype === Object.prototype || prototype === null) && !("toJSON" in value) && !("lg_name" in value);
}
