/**
 * What users, models and tools have said, in the rows of runs and of their log. Each text is sealed to its run, a part of
 * the log to its number too. Rows from before there was a key are read as they are.
 */
import type { Encryption, Place } from "../checkpoints/encryption.ts";
import { isSealedText, readJson } from "../checkpoints/sealed-text.ts";

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

/** A row of `runs` with its kwargs in clear. Throws `checkpoint_unreadable`. */
export function openRun<T extends RunPlace & { readonly kwargs: unknown }>(
  encryption: Encryption | undefined,
  row: T,
): T {
  return isSealedText(row.kwargs) ? { ...row, kwargs: readJson(encryption, row.kwargs, kwargsPlace(row)) } : row;
}
