/** Puts values together from the rows that hold them. */
import { PawlError } from "../lib/errors.ts";
import type { Chunk } from "./chunk.ts";
import { pieceText } from "./pieces.ts";
import { CHUNKED, chunksOfRow } from "./stored-chunks.ts";
import { type KnownVersion, versionOn, wholeVersion } from "./versions.ts";

/** A value as it is stored (load-values.ts). */
export interface Value {
  readonly channel: string;
  readonly type: string;
  /** What the serializer made of it, or the chunks of that. */
  readonly data: Uint8Array | readonly Chunk[];
  /** Of a channel's value, if it is stored as chunks. */
  readonly known?: KnownVersion;
}

/** What every row that holds a value, or a part of it, has. */
interface ValueRow {
  readonly thread_id: string;
  readonly channel: string;
  readonly type: string;
  readonly blob: Buffer;
  readonly items: readonly string[] | null;
}

/** A row of checkpoint_blobs. */
export interface VersionRow extends ValueRow {
  readonly checkpoint_ns: string;
  readonly version: string;
  readonly base_version: string | null;
  readonly head: number;
  readonly tail: number;
}

/** A row of checkpoint_items. */
export interface ItemRow {
  readonly thread_id: string;
  readonly hash: string;
  readonly blob: Buffer;
}

/** Rows of checkpoint_items, put together. */
export interface ItemsRow {
  readonly thread_id: string;
  /** Their hashes and their lengths in bytes, with commas between them. */
  readonly hashes: string;
  readonly sizes: string;
  /** Their contents, one after the other. */
  readonly blob: Buffer;
}

type Place = Pick<VersionRow, "thread_id" | "checkpoint_ns" | "channel" | "version">;

export class StoredValues {
  readonly #versions: ReadonlyMap<string, VersionRow>;
  /** By thread and hash. */
  readonly #items: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly #known = new Map<string, KnownVersion>();

  /** The versions with all that they build on, and the items of all rows. */
  constructor(versions: readonly VersionRow[], items: readonly ItemRow[]) {
    this.#versions = new Map(versions.map((row) => [keyOf(row), row]));
    const byThread = Map.groupBy(items, ({ thread_id }) => thread_id);
    const texts = (own: readonly ItemRow[]) => new Map(own.map(({ hash, blob }) => [hash, pieceText(hash, blob)]));
    this.#items = new Map([...byThread].map(([threadId, own]) => [threadId, texts(own)]));
  }

  /** Undefined where the channel was empty. */
  version(at: Place): Value | undefined {
    const row = this.#versions.get(keyOf(at));
    if (!row || row.type === "empty") return undefined;
    if (row.type !== CHUNKED) return { channel: row.channel, type: row.type, data: row.blob };
    const known = this.#chunked(row);
    return { channel: row.channel, type: CHUNKED, data: known.chunks, known };
  }

  /** A value that stands alone. */
  value(row: ValueRow): Value {
    const { channel, type, blob } = row;
    return { channel, type, data: type === CHUNKED ? this.#own(row) : blob };
  }

  /** From the whole up, not recursively: a chain is as long as its value is large. */
  #chunked(row: VersionRow): KnownVersion {
    const chain = [row];
    let known = this.#known.get(keyOf(row));
    for (let at = row; !known && at.base_version !== null; at = chain[0] ?? at) {
      const base = this.#versions.get(keyOf({ ...at, version: at.base_version }));
      if (!base) throw damaged(`the version ${at.base_version} that another one builds on`);
      known = this.#known.get(keyOf(base));
      chain.unshift(base);
    }
    for (const each of chain) {
      known = this.#known.get(keyOf(each)) ?? this.#onBase(each, known);
      this.#known.set(keyOf(each), known);
    }
    return known ?? this.#onBase(row, undefined);
  }

  #onBase(row: VersionRow, base: KnownVersion | undefined): KnownVersion {
    const own = this.#own(row);
    if (row.base_version === null || !base) return wholeVersion(row.version, own);
    return versionOn(base, own, row);
  }

  #own(row: ValueRow): Chunk[] {
    const items = this.#items.get(row.thread_id);
    return chunksOfRow(row, (hash) => {
      const text = items?.get(hash);
      if (text === undefined) throw damaged(`an item of ${row.channel}`);
      return text;
    });
  }
}

/** Takes them apart again. */
export function itemsOf({ thread_id, hashes, sizes, blob }: ItemsRow): ItemRow[] {
  const lengths = sizes.split(",").map(Number);
  let at = 0;
  return hashes.split(",").map((hash, i) => {
    const from = at;
    at += lengths[i] ?? 0;
    return { thread_id, hash, blob: blob.subarray(from, at) };
  });
}

function keyOf({ thread_id, checkpoint_ns, channel, version }: Place): string {
  return JSON.stringify([thread_id, checkpoint_ns, channel, version]);
}

function damaged(what: string): PawlError {
  return new PawlError("checkpoint_unreadable", `The checkpoint cannot be read: ${what} is not stored`);
}
