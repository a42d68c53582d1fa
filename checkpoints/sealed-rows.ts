/**
 * The rows of a saver, sealed on their way to the tables and opened on their way back. The ids, versions and types of a
 * row stay clear; that they belong together is part of what the seal guarantees. Rows that are not sealed, from before,
 * are read as they are.
 */
import { PawlError } from "../lib/errors.ts";
import { type Encryption, isSealed, type Place } from "./encryption.ts";
import { plainHash } from "./pieces.ts";
import type { Item } from "./stored-chunks.ts";
import type { VersionRow } from "./put-checkpoint.ts";
import type { WriteRow } from "./put-writes.ts";

const PREFIX = "sealed:";

type Hashes = readonly string[] | null | undefined;

/** Where a row is, and what is clear of it. `items` as they are stored. */
export interface VersionPlace {
  readonly thread_id: string;
  readonly checkpoint_ns: string;
  readonly channel: string;
  readonly version: string;
  readonly type: string;
  readonly items?: Hashes;
  readonly base_version?: string | null | undefined;
  readonly head?: number | null | undefined;
  readonly tail?: number | null | undefined;
}

export interface WritePlace {
  readonly thread_id: string;
  readonly checkpoint_ns: string;
  readonly checkpoint_id: string;
  readonly task_id: string;
  readonly idx: number;
  readonly channel: string;
  readonly type: string;
  readonly items?: Hashes;
}

export function versionPlace(at: VersionPlace): Place {
  const { checkpoint_ns, channel, version, type, items, base_version, head, tail } = at;
  const delta = [base_version ?? null, head ?? null, tail ?? null];
  const row = ["version", checkpoint_ns, channel, version, type, ...delta, ...(items ?? []).map(plainHash)];
  return { threadId: at.thread_id, row };
}

export function writePlace(at: WritePlace): Place {
  const { checkpoint_ns, checkpoint_id, task_id, idx, channel, type, items } = at;
  const row = ["write", checkpoint_ns, checkpoint_id, task_id, idx, channel, type, ...(items ?? []).map(plainHash)];
  return { threadId: at.thread_id, row };
}

export interface ItemPlace {
  readonly thread_id: string;
  readonly hash: string;
}

export function itemPlace({ thread_id, hash }: ItemPlace): Place {
  return { threadId: thread_id, row: ["item", plainHash(hash)] };
}

/** Of the content of a file, whose hash is that of the content in clear. */
export function filePlace({ thread_id, hash }: ItemPlace): Place {
  return { threadId: thread_id, row: ["file", hash] };
}

/** The rows of a checkpoint as they are to be stored. */
export function sealCheckpoint<T extends { readonly values: readonly VersionRow[]; readonly items: readonly Item[] }>(
  encryption: Encryption | undefined,
  at: Pick<VersionPlace, "thread_id" | "checkpoint_ns">,
  rows: T,
): T {
  if (!encryption) return rows;
  const values = rows.values.map((row): VersionRow => {
    const { delta, needs } = row;
    const masked = mask(encryption, row);
    const place = versionPlace({ ...at, ...masked, ...(delta && { base_version: needs, ...delta }) });
    return { ...masked, type: PREFIX + row.type, blob: encryption.seal(row.blob, place) };
  });
  return { ...rows, values, items: sealItems(encryption, at, rows.items) };
}

/** What a stored version is to hold instead, whole: sealed under the key that it has, for its items are, too. */
export function resealVersion(
  encryption: Encryption | undefined,
  stored: VersionPlace & { readonly blob: Buffer },
  { blob, items }: { readonly blob: Uint8Array; readonly items: readonly string[] },
): { readonly blob: Uint8Array; readonly items: readonly string[] } {
  if (!stored.type.startsWith(PREFIX)) return { blob, items };
  const masked = items.map((hash) => held(encryption).mask(hash, stored.blob));
  const { thread_id, checkpoint_ns, channel, version, type } = asSealed(stored);
  const place = versionPlace({ thread_id, checkpoint_ns, channel, version, type, items: masked });
  return { blob: held(encryption).seal(blob, place, stored.blob), items: masked };
}

/** The pending writes of a task as they are to be stored. */
export function sealWrites<T extends { readonly writes: readonly WriteRow[]; readonly items: readonly Item[] }>(
  encryption: Encryption | undefined,
  at: Pick<WritePlace, "thread_id" | "checkpoint_ns" | "checkpoint_id" | "task_id">,
  rows: T,
): T {
  if (!encryption) return rows;
  const writes = rows.writes.map((row): WriteRow => {
    const masked = mask(encryption, row);
    return { ...masked, type: PREFIX + row.type, blob: encryption.seal(row.blob, writePlace({ ...at, ...masked })) };
  });
  return { ...rows, writes, items: sealItems(encryption, at, rows.items) };
}

function sealItems(
  encryption: Encryption,
  { thread_id }: { readonly thread_id: string },
  items: readonly Item[],
): Item[] {
  return items.map(({ hash, item }) => {
    const masked = encryption.mask(hash);
    return { hash: masked, item: encryption.seal(item, itemPlace({ thread_id, hash: masked })) };
  });
}

function mask<T extends { readonly items?: readonly string[] }>(encryption: Encryption, row: T): T {
  return row.items ? { ...row, items: row.items.map((hash) => encryption.mask(hash)) } : row;
}

interface SealedRow {
  readonly type: string;
  readonly blob: Buffer;
  readonly items?: Hashes;
}

/** Whether what refers to this row's items may be stored by us: it is as we would store it. */
export function isAsStoredBy(encryption: Encryption | undefined, bytes: Uint8Array): boolean {
  return encryption ? encryption.isCurrent(bytes) : true;
}

/** A sealed row with the type that its value had. */
export function asSealed<T extends { readonly type: string }>(row: T): T {
  return { ...row, type: row.type.slice(PREFIX.length) };
}

/** A row with its value in clear. `placeOf` gets the row with the type that the value had. */
export function openRow<T extends SealedRow>(
  encryption: Encryption | undefined,
  row: T,
  placeOf: (row: T) => Place,
): T {
  if (!row.type.startsWith(PREFIX)) return row;
  const { blob, items } = row;
  const sealed = asSealed(row);
  return {
    ...sealed,
    blob: held(encryption).open(blob, placeOf(sealed)),
    ...(items && { items: items.map((hash) => held(encryption).unmask(hash, blob)) }),
  };
}

/** The same for the row of an item, which has no type. */
export function openItem<T extends ItemPlace & { readonly blob: Buffer }>(
  encryption: Encryption | undefined,
  row: T,
): T {
  if (!isSealed(row.blob)) return row;
  const blob = held(encryption).open(row.blob, itemPlace(row));
  return { ...row, blob, hash: held(encryption).unmask(row.hash, row.blob) };
}

/** Throws `checkpoint_unreadable` where there is no key for what is sealed. */
export function held(encryption: Encryption | undefined): Encryption {
  if (encryption) return encryption;
  throw new PawlError(
    "checkpoint_unreadable",
    "The state of this thread is encrypted, and PAWL_ENCRYPTION_KEYS is not set",
  );
}
