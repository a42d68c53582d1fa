/**
 * Chunks as rows hold them. `blob` has one line for each: its text, with a mark in the place of each piece that is a row
 * of `checkpoint_items`; `items` names those rows in order. JSON text has neither line breaks nor marks of its own.
 */
import { ofMessages } from "./abbreviations.ts";
import { Chunk, type ChunkForm } from "./chunk.ts";
import { pack, unpack } from "./packed-text.ts";
import { hashOf, packPiece } from "./pieces.ts";
import { MIN_PIECE, segmentsOf } from "./segments.ts";

/** The type of a value that is stored as chunks. The stock saver does not know it, and says so. */
export const CHUNKED = "chunks";

export interface Item {
  /** 32 hexadecimal digits. */
  readonly hash: string;
  readonly item: Uint8Array;
}

const MARK = "\u0001";

function formOf(chunk: Chunk): ChunkForm {
  chunk.form ??= formWith(chunk, () => {});
  return chunk.form;
}

function formWith(chunk: Chunk, onItem: (key: string, text: string) => void): ChunkForm {
  const { text, bodyAt, isString } = chunk;
  const items: string[] = [];
  const segments = isString === undefined ? segmentsOf(text, bodyAt) : [{ text, isString }];
  const line = segments.map((segment) => {
    const short = segment.isString ? segment.text : ofMessages.abbreviate(segment.text);
    if (short.length < MIN_PIECE) return short;
    const key = hashOf(segment.text);
    items.push(key);
    onItem(key, segment.text);
    return MARK;
  });
  return { line: line.join(""), items };
}

/** What a row with these chunks takes, about: its own and its index entry's overhead, 16 bytes for each item. */
export function weightOf(chunks: readonly Chunk[]): number {
  let bytes = 200;
  for (const chunk of chunks) {
    const { line, items } = formOf(chunk);
    bytes += line.length + 1 + 16 * items.length;
  }
  return bytes;
}

export function hasItems(chunks: readonly Chunk[]): boolean {
  return chunks.some((chunk) => formOf(chunk).items.length > 0);
}

/** The two columns that say what the chunks are. */
export function columnsOf(chunks: readonly Chunk[]): { blob: Uint8Array; items: string[] } {
  const forms = chunks.map(formOf);
  return {
    blob: pack(forms.map(({ line }) => line).join("\n")),
    items: forms.flatMap(({ items }) => items),
  };
}

/** The rows that the chunks refer to, each once. */
export function itemsOf(chunks: readonly Chunk[]): Item[] {
  const texts = new Map<string, string>();
  for (const chunk of chunks) chunk.form = formWith(chunk, (key, text) => texts.set(key, text));
  return [...texts].map(([key, text]) => ({ hash: key, item: packPiece(key, text) }));
}

/** The chunks of a row. `itemOf` gives the text of an item and fails if there is none. */
export function chunksOfRow(
  { blob, items }: { readonly blob: Uint8Array; readonly items: readonly string[] | null },
  itemOf: (hash: string) => string,
): Chunk[] {
  if (blob.length === 0) return [];
  const lines = unpack(blob).split("\n");
  let used = 0;
  return lines.map((line): Chunk => {
    const [first = "", ...others] = line.split(MARK);
    const own = (items ?? []).slice(used, used + others.length);
    used += own.length;
    const rest = others.map((literal, i) => itemOf(own[i] ?? "") + ofMessages.expand(literal));
    return new Chunk(ofMessages.expand(first) + rest.join(""), { form: { line, items: own } });
  });
}
