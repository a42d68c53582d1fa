/**
 * How a version of a channel is stored: as a whole, or as what it has that an earlier version of the same channel does
 * not have. A whole is written once the deltas since the last one weigh as much, or if it is hardly more than a delta:
 * what is written is then at most twice the new, however long the history, and what has to be read grows with the value.
 */
import type { Chunk } from "./chunk.ts";
import { weightOf } from "./stored-chunks.ts";

/** A version that is stored as chunks, as far as this process knows. */
export interface KnownVersion {
  readonly version: string;
  readonly chunks: readonly Chunk[];
  /** The version it is a delta on. */
  readonly base?: string;
  /** Of the deltas from the last whole up to here. */
  readonly weight: number;
  /** Of all chunks. */
  readonly sums: Sums;
}

interface Sums {
  /** What a whole weighs. */
  readonly whole: number;
  /** What is kept in memory, in characters. */
  readonly size: number;
}

/** Whether it is one that `Saver.getNextVersion` makes. The stock saver counts 1, 2, 3, in each branch of a thread. */
export const isUnique = (version: string): boolean => /^\d+\.\d+$/.test(version);

interface VersionPlan {
  /** What the row holds itself. */
  readonly own: readonly Chunk[];
  /** The version that has to be there: it leads to all items but those of `fresh`. */
  readonly needs?: string;
  /** How many chunks of that version come before and after the own ones; absent for a whole. */
  readonly delta?: { readonly head: number; readonly tail: number };
  readonly fresh: readonly Chunk[];
  readonly known: KnownVersion;
}

export function planVersion(version: string, chunks: readonly Chunk[], base: KnownVersion | undefined): VersionPlan {
  if (!base) return { own: chunks, fresh: chunks, known: wholeVersion(version, chunks) };
  const { head, tail } = overlap(base.chunks, chunks);
  const fresh = chunks.slice(head, chunks.length - tail);
  const more = weightOf(fresh);
  const sums = exchanged(base.sums, base.chunks.slice(head, base.chunks.length - tail), fresh);
  const weight = base.weight + more;
  if (weight < sums.whole && 2 * more < sums.whole) {
    const known = { version, chunks, base: base.version, weight, sums };
    return { own: fresh, needs: base.version, delta: { head, tail }, fresh, known };
  }
  return { own: chunks, needs: base.version, fresh, known: { version, chunks, weight: 0, sums } };
}

export function wholeVersion(version: string, chunks: readonly Chunk[]): KnownVersion {
  return { version, chunks, weight: 0, sums: { whole: weightOf(chunks), size: sizeOf(chunks) } };
}

/** What a row holds that is a delta on `base`. */
export function versionOn(
  base: KnownVersion,
  own: readonly Chunk[],
  { version, head, tail }: { readonly version: string; readonly head: number; readonly tail: number },
): KnownVersion {
  const end = base.chunks.length - tail;
  if (head > end) throw new Error("A stored version does not fit the one it builds on");
  return {
    version,
    chunks: [...base.chunks.slice(0, head), ...own, ...base.chunks.slice(end)],
    base: base.version,
    weight: base.weight + weightOf(own),
    sums: exchanged(base.sums, base.chunks.slice(head, end), own),
  };
}

function exchanged({ whole, size }: Sums, gone: readonly Chunk[], fresh: readonly Chunk[]): Sums {
  return { whole: whole - weightOf(gone) + weightOf(fresh), size: size - sizeOf(gone) + sizeOf(fresh) };
}

/** A text or what it was parsed to; of a long element both. */
function sizeOf(chunks: readonly Chunk[]): number {
  let size = 0;
  for (const { length, isString, form } of chunks)
    size += (isString === undefined ? 1 : 2) * length + (form?.line.length ?? 0);
  return size;
}

/** How many chunks the two have in common at the beginning and, of the rest, at the end. */
function overlap(base: readonly Chunk[], next: readonly Chunk[]): { head: number; tail: number } {
  const most = Math.min(base.length, next.length);
  let head = 0;
  while (head < most && isSame(base[head], next[head])) head += 1;
  let tail = 0;
  while (tail < most - head && isSame(base.at(-1 - tail), next.at(-1 - tail))) tail += 1;
  return { head, tail };
}

/** A chunk of the base is known to be stored, and how: `next` is then stored the same way. */
function isSame(base: Chunk | undefined, next: Chunk | undefined): boolean {
  if (base === next) return true;
  if (!base || !next || base.length !== next.length || base.text !== next.text) return false;
  if (base.form) next.form = base.form;
  return true;
}
