/**
 * The columns of a checkpoint. Half of a stock row says what its other columns say, or is read by no statement; a
 * checkpoint with values in pieces, which the stock saver cannot read anyway, has a shorter row.
 */
import { ofCheckpoints } from "./abbreviations.ts";
import { pack, unpack } from "./packed-text.ts";

export interface CheckpointColumns {
  /** Without the values of its channels. Of a short row: the versions of its channels, and a format that is none. */
  readonly checkpoint: Readonly<Record<string, unknown>>;
  /** A short row leaves out the thread, which it names, and parents, if there are none. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Of a short row: what else the checkpoint has but its id, as JSON, abbreviated and packed. */
  readonly rest: Uint8Array | null;
}

export interface CheckpointPlace {
  readonly thread_id: string;
  readonly checkpoint_id: string;
}

/** The format whose checkpoints have all that they say in their own row. */
const FORMAT = 4;

/**
 * In the place of the number of the format. A Pawl from before short rows would take what it does not find for empty, and
 * run nodes again; but its statements compare this number, and Postgres refuses.
 */
const SHORT = "";

/** A short row where a value is in pieces, unless there is something that could not be put back. */
export function columnsOf(
  at: CheckpointPlace,
  whole: Omit<CheckpointColumns, "rest">,
  { inPieces }: { readonly inPieces: boolean },
): CheckpointColumns {
  const { thread_id, parents, ...others } = whole.metadata;
  const { id, channel_versions, ...rest } = whole.checkpoint;
  const isKnown = thread_id === at.thread_id && id === at.checkpoint_id && rest["v"] === FORMAT;
  if (!inPieces || !isKnown || parents === undefined) return { ...whole, rest: null };
  return {
    checkpoint: { v: SHORT, channel_versions },
    metadata: JSON.stringify(parents) === "{}" ? others : { parents, ...others },
    rest: pack(ofCheckpoints.abbreviate(JSON.stringify(rest))),
  };
}

/** What was stored. Throws `checkpoint_unreadable` for what is damaged. */
export function wholeOf<T extends object>({
  thread_id,
  checkpoint_id,
  checkpoint,
  metadata,
  rest,
}: CheckpointPlace & Omit<CheckpointColumns, "checkpoint"> & { readonly checkpoint: T }): {
  readonly checkpoint: T;
  readonly metadata: Readonly<Record<string, unknown>>;
} {
  if (!rest) return { checkpoint, metadata };
  const others = JSON.parse(ofCheckpoints.expand(unpack(rest))) as object;
  return {
    checkpoint: { ...checkpoint, ...others, id: checkpoint_id },
    metadata: { parents: {}, ...metadata, thread_id },
  };
}

/** The metadata of a row of either form, in SQL. */
export const WHOLE_METADATA = `(case when rest is null then metadata
         else '{"parents": {}}'::jsonb || metadata || jsonb_build_object('thread_id', thread_id) end)`;

/** In SQL, whether what was sent to a checkpoint stayed with the writes of its parent: up to format 3. */
export function isBeforeSends(checkpoints: string): string {
  return `(case when ${checkpoints}.rest is null then (${checkpoints}.checkpoint ->> 'v')::int < ${FORMAT} else false end)`;
}
