/**
 * The columns of a checkpoint. Half of a stock row says what its other columns say, or is read by no statement; a
 * checkpoint with values in pieces, which the stock saver cannot read anyway, has a shorter row.
 */
import { ofCheckpoints } from "./abbreviations.ts";
import { pack, unpack } from "./packed-text.ts";

export interface CheckpointColumns {
  /** Without the values of its channels. Of a short row: the versions of its channels. */
  readonly checkpoint: Readonly<Record<string, unknown>>;
  /** A short row leaves out the thread, which it names. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Of a short row: what else the checkpoint has but its id, as JSON, abbreviated and packed. */
  readonly rest: Uint8Array | null;
}

export interface CheckpointPlace {
  readonly thread_id: string;
  readonly checkpoint_id: string;
}

/** Of earlier formats there are statements that ask for more. */
const MIN_FORMAT = 4;

/** A short row where a value is in pieces, unless there is something that could not be put back. */
export function columnsOf(
  at: CheckpointPlace,
  whole: Omit<CheckpointColumns, "rest">,
  { inPieces }: { readonly inPieces: boolean },
): CheckpointColumns {
  const { thread_id, ...metadata } = whole.metadata;
  const { id, channel_versions, ...rest } = whole.checkpoint;
  const canComeBack = thread_id === at.thread_id && id === at.checkpoint_id && Number(rest["v"]) >= MIN_FORMAT;
  return inPieces && canComeBack
    ? { checkpoint: { channel_versions }, metadata, rest: pack(ofCheckpoints.abbreviate(JSON.stringify(rest))) }
    : { ...whole, rest: null };
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
  return { checkpoint: { ...others, ...checkpoint, id: checkpoint_id }, metadata: { ...metadata, thread_id } };
}

/** The metadata of a row of either form, in SQL. */
export const WHOLE_METADATA =
  "(case when rest is null then metadata else metadata || jsonb_build_object('thread_id', thread_id) end)";
