/**
 * The columns of a checkpoint. Half of a stock row says what its other columns say, or is read by no statement; a
 * checkpoint with values in pieces, which the stock saver cannot read anyway, has a shorter row.
 */
import { expandedVersions, ofCheckpoints, ofVersions } from "./abbreviations.ts";
import { pack, unpack } from "./packed-text.ts";
import { shortTime, wholeTime } from "./short-time.ts";

export interface CheckpointColumns {
  /** Without the values of its channels. Of a short row: `channel_versions` as abbreviated JSON; one in brackets is null. */
  readonly checkpoint: Readonly<Record<string, unknown>>;
  /** A short row leaves out the thread, which it names, and what is nearly always the same. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Of a short row: what else the checkpoint has, as JSON, abbreviated and packed. */
  readonly rest: Uint8Array | null;
}

export interface CheckpointPlace {
  readonly thread_id: string;
  readonly checkpoint_id: string;
}

/** The format whose checkpoints have all that they say in their own row. */
const FORMAT = 4;

/** Metadata that a short row leaves out where it is the same. */
const PARENTS = { parents: {} };
const INTEGRATION = { ls_integration: "langgraph" };

/** In a short row that does not mean `INTEGRATION` where it says none. Those from before versions were a text have it, too. */
const NO_INTEGRATION = { v: "" };

/** A short row where a value is in pieces, unless there is something that could not be put back. */
export function columnsOf(
  at: CheckpointPlace,
  whole: Omit<CheckpointColumns, "rest">,
  { inPieces, nulls }: { readonly inPieces: boolean; readonly nulls: ReadonlySet<string> },
): CheckpointColumns {
  const { thread_id, parents, ls_integration, ...others } = whole.metadata;
  const { id, channel_versions, v, ts, ...rest } = whole.checkpoint;
  const isKnown = thread_id === at.thread_id && id === at.checkpoint_id && v === FORMAT && typeof ts === "string";
  if (!inPieces || !isKnown || parents === undefined) return { ...whole, rest: null };
  const versions = Object.entries(channel_versions as object).map(([channel, version]): [string, unknown] => [
    channel,
    nulls.has(channel) ? [version] : version,
  ]);
  const time = shortTime(ts, at.checkpoint_id);
  const isUsual = ls_integration === INTEGRATION.ls_integration;
  return {
    checkpoint: {
      ...(!isUsual && NO_INTEGRATION),
      channel_versions: ofVersions.abbreviate(JSON.stringify(Object.fromEntries(versions))),
    },
    metadata: {
      ...(JSON.stringify(parents) !== "{}" && { parents }),
      ...(!isUsual && ls_integration !== undefined && { ls_integration }),
      ...others,
    },
    rest: pack(ofCheckpoints.abbreviate(JSON.stringify({ ...rest, ...(time !== 0 && { ts: time }) }))),
  };
}

/** What was stored; `nulls`: which channels the row says are null. Throws `checkpoint_unreadable` for what is damaged. */
export function wholeOf<T extends { readonly channel_versions: unknown }>({
  thread_id,
  checkpoint_id,
  checkpoint,
  metadata,
  rest,
}: CheckpointPlace & Omit<CheckpointColumns, "checkpoint"> & { readonly checkpoint: T }): {
  readonly checkpoint: T;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly nulls: ReadonlySet<string>;
} {
  if (!rest) return { checkpoint, metadata, nulls: new Set() };
  const { channel_versions: stored } = checkpoint;
  const versions = typeof stored === "string" ? (JSON.parse(ofVersions.expand(stored)) as unknown) : stored;
  const entries = Object.entries(versions as Record<string, unknown>);
  const { ts = 0, ...others } = JSON.parse(ofCheckpoints.expand(unpack(rest))) as { ts?: number | string };
  return {
    checkpoint: {
      ...checkpoint,
      v: FORMAT,
      ts: wholeTime(ts, checkpoint_id),
      ...others,
      id: checkpoint_id,
      channel_versions: Object.fromEntries(entries.map(([channel, each]) => [channel, versionIn(each)])),
    },
    metadata: { ...PARENTS, ...(!("v" in checkpoint) && INTEGRATION), ...metadata, thread_id },
    nulls: new Set(entries.flatMap(([channel, each]) => (Array.isArray(each) ? [channel] : []))),
  };
}

function versionIn(stored: unknown): unknown {
  return Array.isArray(stored) ? stored[0] : stored;
}

/** The versions of the channels, in SQL, from a row of any form. */
export function versionsOf(checkpoint: string): string {
  return `${expandedVersions(`(${checkpoint} ->> 'channel_versions')`)}::jsonb`;
}

/** The metadata of a row of any form, in SQL. */
export const WHOLE_METADATA = `(case when rest is null then metadata
         else case when checkpoint ? 'v' then '${JSON.stringify(PARENTS)}'::jsonb
                   else '${JSON.stringify({ ...PARENTS, ...INTEGRATION })}'::jsonb end
              || metadata || jsonb_build_object('thread_id', thread_id) end)`;

/** In SQL, whether what was sent to a checkpoint stayed with the writes of its parent: up to format 3. */
export function isBeforeSends(checkpoints: string): string {
  return `(case when ${checkpoints}.rest is null then (${checkpoints}.checkpoint ->> 'v')::int < ${FORMAT} else false end)`;
}
