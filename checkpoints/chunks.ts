/**
 * A value as the pieces of its JSON text, cut where lists and objects grow or change: joined, they are exactly what the
 * serializer makes of the value as a whole. A list of messages has one piece for each message.
 */
import { DeltaSnapshot, type SerializerProtocol } from "@langchain/langgraph-checkpoint";

export interface Chunk {
  readonly text: string;
  /** Where the element begins, after its comma, bracket or key: the same element is the same item wherever it stands. */
  readonly bodyAt: number;
  /** How it is stored; kept, since most chunks of a version are those of the version before. */
  form?: ChunkForm;
}

export interface ChunkForm {
  readonly line: string;
  /** Of the item that holds the body; absent where the line does. */
  readonly hash?: string;
}

/**
 * A text longer than `MAX_BODY` is cut every `BODY_PIECE` characters, so that one that grows at its end leaves its
 * beginning as it was, at any depth.
 */
const MAX_BODY = 8_192;
const BODY_PIECE = 4_096;

/** How the serializer marks a snapshot of a channel that is else kept as its writes. */
const SNAPSHOT = { lc: 2, type: "delta_snapshot" };

/** What the serializer writes where an object contains itself, or contains what has no JSON, in words of the whole. */
const PECULIAR = ['"[Circular]"', '"[unable to serialize'];

/**
 * The chunks of a value; undefined for one that has to be serialized as a whole. Everything is serialized before this
 * function returns its promise: afterwards the graph may change what it handed over.
 */
export async function chunksOf(value: unknown, serde: SerializerProtocol): Promise<Chunk[] | undefined> {
  if (value instanceof Uint8Array || ["undefined", "function", "symbol"].includes(typeof value)) return undefined;
  const chunks: (Chunk | Promise<Chunk | undefined>)[] = [];
  if (isList(value)) addList("", value, { chunks, serde });
  else if (isRecord(value)) addRecord(value, { chunks, serde });
  else if (value instanceof DeltaSnapshot) addRecord({ ...SNAPSHOT, value: value.value }, { chunks, serde });
  else chunks.push(element("", value, serde));
  const all = (await Promise.all(chunks)).filter((chunk) => chunk !== undefined);
  return all.some(isPeculiar) ? undefined : all.flatMap(cut);
}

export function textOf(chunks: readonly Chunk[]): string {
  return chunks.map(({ text }) => text).join("");
}

interface Target {
  readonly chunks: (Chunk | Promise<Chunk | undefined>)[];
  readonly serde: SerializerProtocol;
}

function addList(lead: string, list: readonly unknown[], { chunks, serde }: Target): void {
  // By index, not by iteration: a list may have holes, and its length is what counts.
  for (let i = 0; i < list.length; i += 1) chunks.push(element(i === 0 ? `${lead}[` : ",", list[i], serde));
  chunks.push({ text: "]", bodyAt: 1 });
}

function addRecord(record: Readonly<Record<string, unknown>>, { chunks, serde }: Target): void {
  let lead = "{";
  for (const [key, value] of Object.entries(record)) {
    if (typeof value === "function" || typeof value === "symbol") continue;
    if (isList(value)) addList(`${lead}${JSON.stringify(key)}:`, value, { chunks, serde });
    else chunks.push(element(`${lead}${JSON.stringify(key)}:`, value, serde));
    lead = ",";
  }
  chunks.push({ text: lead === "{" ? "{}" : "}", bodyAt: 1 });
}

/** Inside a list, since a value that stands alone may have a form of its own (bytes). */
async function element(lead: string, value: unknown, serde: SerializerProtocol): Promise<Chunk | undefined> {
  const [, bytes] = await serde.dumpsTyped([value]);
  return {
    text: lead + Buffer.from(bytes.buffer, bytes.byteOffset + 1, bytes.length - 2).toString(),
    bodyAt: lead.length,
  };
}

function isPeculiar({ text }: Chunk): boolean {
  return PECULIAR.some((mark) => text.includes(mark));
}

function cut(chunk: Chunk): Chunk[] {
  const { text, bodyAt } = chunk;
  if (text.length - bodyAt <= MAX_BODY) return [chunk];
  const pieces: Chunk[] = [];
  for (let at = 0; at < text.length;) {
    const bodyFrom = at === 0 ? bodyAt : 0;
    let end = at + bodyFrom + BODY_PIECE;
    // Never between the halves of a pair.
    if (end < text.length && isHighSurrogate(text.charCodeAt(end - 1))) end += 1;
    pieces.push({ text: text.slice(at, end), bodyAt: bodyFrom });
    at = end;
  }
  return pieces;
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit < 0xdc00;
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
