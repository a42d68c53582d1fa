/**
 * Chunks as rows hold them. `blob` has one line for each: its text, or its text up to the mark where its body, a row of
 * `checkpoint_items`, belongs; `items` names those rows in order. JSON text has neither line breaks nor marks of its own.
 */
import { hash } from "node:crypto";
import { abbreviate, expand } from "./abbreviations.ts";
import type { Chunk, ChunkForm } from "./chunks.ts";

/** The type of a value that is stored as chunks. The stock saver does not know it, and says so. */
export const CHUNKED = "chunks";

export interface Item {
  /** A uuid without its hyphens. */
  readonly hash: string;
  readonly item: Uint8Array;
}

const MARK = "\u0001";
/** A body of fewer characters is kept in the line: as an item it would take about 170 bytes more. */
const MIN_ITEM = 128;

/** The key of an item: two bodies with one key are one row. */
function itemHash(body: string): string {
  return hash("sha256", body, "hex").slice(0, 32);
}

function formOf(chunk: Chunk): ChunkForm {
  return (chunk.form ??= form(chunk));
}

function form({ text, bodyAt }: Chunk): ChunkForm {
  const body = abbreviate(text.slice(bodyAt));
  const lead = text.slice(0, bodyAt);
  return body.length < MIN_ITEM ? { line: lead + body } : { line: lead + MARK, hash: itemHash(text.slice(bodyAt)) };
}

/** What a row with these chunks takes, about: its own and its index entry's overhead, 16 bytes for each item. */
export function weightOf(chunks: readonly Chunk[]): number {
  let bytes = 200;
  for (const chunk of chunks) {
    const { line, hash: item } = formOf(chunk);
    bytes += line.length + 1 + (item === undefined ? 0 : 16);
  }
  return bytes;
}

export function hasItems(chunks: readonly Chunk[]): boolean {
  return chunks.some((chunk) => formOf(chunk).hash !== undefined);
}

/** The two columns that say what the chunks are. */
export function columnsOf(chunks: readonly Chunk[]): { blob: Uint8Array; items: string[] } {
  const forms = chunks.map(formOf);
  return {
    blob: Buffer.from(forms.map(({ line }) => line).join("\n")),
    items: forms.flatMap(({ hash: item }) => item ?? []),
  };
}

/** The rows that the chunks refer to, each once. */
export function itemsOf(chunks: readonly Chunk[]): Item[] {
  const items = new Map<string, Item>();
  for (const chunk of chunks) {
    const { hash: key } = formOf(chunk);
    if (key !== undefined && !items.has(key)) {
      items.set(key, { hash: key, item: Buffer.from(abbreviate(chunk.text.slice(chunk.bodyAt))) });
    }
  }
  return [...items.values()];
}

/** The chunks of a row. `itemOf` gives the content of an item and fails if there is none. */
export function chunksOfRow(
  { blob, items }: { readonly blob: Uint8Array; readonly items: readonly string[] | null },
  itemOf: (hash: string) => string,
): Chunk[] {
  if (blob.length === 0) return [];
  const hashes = (items ?? []).values();
  return Buffer.from(blob.buffer, blob.byteOffset, blob.length)
    .toString()
    .split("\n")
    .map((line): Chunk => {
      if (!line.endsWith(MARK)) return { text: expand(line), bodyAt: 0, form: { line } };
      const lead = line.slice(0, -1);
      const key = hashes.next().value ?? "";
      return { text: lead + itemOf(key), bodyAt: lead.length, form: { line, hash: key } };
    });
}

/** The text of an item's bytes, and where the same bytes are met again the same text. */
export function itemText(item: Uint8Array): string {
  return expand(Buffer.from(item.buffer, item.byteOffset, item.length).toString());
}
