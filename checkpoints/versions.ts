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
}

export interface VersionPlan {
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
  if (!base) return { own: chunks, fresh: chunks, known: { version, chunks, weight: 0 } };
  const { head, tail } = overlap(base.chunks, chunks);
  const fresh = chunks.slice(head, chunks.length - tail);
  const [more, whole] = [weightOf(fresh), weightOf(chunks)];
  const weight = base.weight + more;
  if (weight < whole && 2 * more < whole) {
    const known = { version, chunks, base: base.version, weight };
    return { own: fresh, needs: base.version, delta: { head, tail }, fresh, known };
  }
  return { own: chunks, needs: base.version, fresh, known: { version, chunks, weight: 0 } };
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
  if (!base || !next || base.text !== next.text) return false;
  if (base.form) next.form = base.form;
  return true;
}

/** The chunks of a delta on its base. */
export function applyDelta(
  base: readonly Chunk[],
  own: readonly Chunk[],
  { head, tail }: { readonly head: number; readonly tail: number },
): Chunk[] {
  if (head + tail > base.length) throw new Error("A stored version does not fit the one it builds on");
  return [...base.slice(0, head), ...own, ...base.slice(base.length - tail)];
}
