/**
 * What users, models and tools have said, in the rows of runs and of their log. Each text is sealed to its run, a part of
 * the log to its number too; of a request a digest under the key tells whether another one is equal. Rows from before
 * there was a key are read as they are.
 */
import type { Encryption, Place } from "../checkpoints/encryption.ts";
import { isSealedText, readJson } from "../checkpoints/sealed-text.ts";
import { isPawlError } from "../lib/errors.ts";
import type { RunError } from "./run.ts";

export interface RunPlace {
  readonly thread_id: string;
  readonly run_id: string;
}

export const kwargsPlace = ({ thread_id, run_id }: RunPlace): Place => ({
  threadId: thread_id,
  row: ["kwargs", run_id],
});

export const errorPlace = ({ thread_id, run_id }: RunPlace): Place => ({
  threadId: thread_id,
  row: ["run error", run_id],
});

/** Of a row of the log: its events, or how the run ended. `seq`: its `last_seq`. */
export const logPlace = ({ thread_id, run_id }: RunPlace, what: "events" | "outcome", seq: string): Place => ({
  threadId: thread_id,
  row: [what, run_id, seq],
});

/** The digest of a request for its run's row: under the first key, if there is one, so that no guess at a request can be tested. */
export function storedDigest(encryption: Encryption | undefined, digest: Uint8Array): Uint8Array {
  return encryption ? encryption.tags(digest)[0] : digest;
}

/** All that the row of an equal request may have: it may be from under an earlier key, or from before there was one. */
export function possibleDigests(encryption: Encryption | undefined, digest: Uint8Array): Uint8Array[] {
  return [...(encryption?.tags(digest) ?? []), digest];
}

/** A row of `runs` with its kwargs in clear. Throws `checkpoint_unreadable`. */
export function openRun<T extends RunPlace & { readonly kwargs: unknown }>(
  encryption: Encryption | undefined,
  row: T,
): T {
  return isSealedText(row.kwargs) ? { ...row, kwargs: readJson(encryption, row.kwargs, kwargsPlace(row)) } : row;
}

/** Why sealed columns cannot be opened, for the row of a list, which shows the others: the list is still answered. */
export interface Unreadable {
  readonly unreadable: RunError;
}

/** What `open` gives, or why that is left out. Throws what is no `checkpoint_unreadable`. */
export function openedOrWhy<T extends object>(open: () => T): T | Unreadable {
  try {
    return open();
  } catch (error) {
    if (!isPawlError(error, "checkpoint_unreadable")) throw error;
    return { unreadable: { error: error.code, message: error.message } };
  }
}

/** The same as `openRun` for the row of a list: one that cannot be opened has no kwargs. */
export function openListedRun<T extends RunPlace & { readonly kwargs: unknown }>(
  encryption: Encryption | undefined,
  row: T,
): Omit<T, "kwargs"> & { readonly kwargs?: unknown } {
  const { kwargs: _, ...inClear } = row;
  return { ...inClear, ...openedOrWhy(() => openRun(encryption, row)) };
}
