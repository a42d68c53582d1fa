/**
 * The writes from which a channel of the library's `DeltaChannel` is computed: those of the checkpoints above one, from
 * the nearest that holds a value of the channel. One statement, however far that is; the stock saver has one for each
 * checkpoint on the way.
 */
import type { DeltaChannelHistory, SerializerProtocol } from "@langchain/langgraph-checkpoint";
import type { Queryable } from "../db/pool.ts";
import { byId } from "./by-id.ts";
import type { Encryption } from "./encryption.ts";
import { loadValue } from "./load-values.ts";
import { compare } from "./open-questions.ts";
import { versionsOf } from "./short-rows.ts";
import { openItem, openRow, versionPlace, writePlace } from "./sealed-rows.ts";
import { type ItemRow, StoredValues, type Value, type VersionRow } from "./stored-values.ts";

interface DeltaStep extends Value {
  /** The value to begin with, or a write on top of it. */
  readonly kind: "seed" | "write";
  /** Of a write. */
  readonly task_id: string;
}

interface DeltaHistoryQuery {
  readonly threadId: string;
  readonly ns: string;
  /** Undefined for the newest. What was written to this checkpoint itself is not part of its history. */
  readonly checkpointId: string | undefined;
  readonly channels: readonly string[];
  readonly encryption: Encryption | undefined;
}

/** What a `DeltaChannel` is computed from, for each of the channels; of one without history no writes. */
export async function deltaHistories(
  db: Queryable,
  query: DeltaHistoryQuery,
  serde: SerializerProtocol,
): Promise<Record<string, DeltaChannelHistory>> {
  const histories = new Map(query.channels.map((channel): [string, DeltaChannelHistory] => [channel, { writes: [] }]));
  for (const step of histories.size > 0
    ? await readDeltaHistory(db, { ...query, channels: [...histories.keys()] })
    : []) {
    const history = histories.get(step.channel);
    const value: unknown = await loadValue(step, serde);
    if (step.kind === "write") history?.writes.push([step.task_id, step.channel, value]);
    else if (history) history.seed = value;
  }
  return Object.fromEntries(histories);
}

/** For each channel at most one seed, and its writes from the oldest to the newest; in a step by task and index. */
export async function readDeltaHistory(
  db: Queryable,
  { threadId, ns, checkpointId, channels, encryption }: DeltaHistoryQuery,
): Promise<DeltaStep[]> {
  const { rows } = await db.query<Row>({
    name: checkpointId ? "delta-history-at" : "delta-history",
    text: `
      with recursive target as (
        select checkpoint_id, parent_checkpoint_id
          from checkpoints c
         where thread_id = $1 and checkpoint_ns = $2 ${checkpointId ? `and ${byId("c", "$4")}` : "order by seq desc limit 1"}),
      -- wanted: the channels that no checkpoint below had a value of.
      path as (
        select 1 as depth, c.checkpoint_id, c.parent_checkpoint_id, ${versionsOf("c.checkpoint")} as versions,
               $3::text[] as wanted
          from target t
         cross join lateral (${above("t")}) c
         union all
        select p.depth + 1, c.checkpoint_id, c.parent_checkpoint_id, ${versionsOf("c.checkpoint")}, open.channels
          from path p
         cross join lateral (
           select array(select w.channel
                          from unnest(p.wanted) as w(channel)
                         where not exists (
                           select from checkpoint_blobs b
                            where b.thread_id = $1 and b.checkpoint_ns = $2 and b.channel = w.channel
                              and b.version = p.versions ->> w.channel and b.type <> 'empty')) as channels) open
         cross join lateral (${above("p")}) c
         where cardinality(open.channels) > 0),
      seeds as (
        select p.depth, b.*
          from path p
          join checkpoint_blobs b on b.thread_id = $1 and b.checkpoint_ns = $2 and b.channel = any(p.wanted)
                                 and b.version = p.versions ->> b.channel and b.type <> 'empty'),
      versions as (
        select channel, version, type, blob, items, base_version, head, tail from seeds
         union
        select b.channel, b.version, b.type, b.blob, b.items, b.base_version, b.head, b.tail
          from versions v
          join checkpoint_blobs b on b.thread_id = $1 and b.checkpoint_ns = $2 and b.channel = v.channel
                                 and b.version = v.base_version),
      writes as (
        select p.depth, w.*
          from path p
          join checkpoint_writes w on w.thread_id = $1 and w.checkpoint_ns = $2 and w.checkpoint_id = p.checkpoint_id
                                  and w.channel = any(p.wanted))
      select 'seed' as kind, depth, null as checkpoint_id, null as task_id, null::int as idx, channel, version, type, null::bytea as blob,
             null::uuid[] as items, null as base_version, null::int as head, null::int as tail, null::uuid as hash
        from seeds
       union all
      select 'version', null, null, null, null, channel, version, type, blob, items, base_version, head, tail, null from versions
       union all
      select 'write', depth, checkpoint_id, task_id, idx, channel, null, type, blob, items, null, null, null, null from writes
       union all
      select 'item', null, null, null, null, null, null, null, i.item, null, null, null, null, i.hash
        from (select unnest(items) as hash from versions union select unnest(items) from writes) used
        join checkpoint_items i on i.thread_id = $1 and i.hash = used.hash`,
    values: [threadId, ns, channels, ...(checkpointId ? [checkpointId] : [])],
  });
  const of = Map.groupBy(
    rows.map((row) => ({ ...row, thread_id: threadId, checkpoint_ns: ns })),
    ({ kind }) => kind,
  );
  const stored = new StoredValues(
    (of.get("version") ?? []).map((row) => openRow(encryption, row, versionPlace)),
    (of.get("item") ?? []).map((row) => openItem(encryption, row)),
  );
  // Tasks by the units of their ids, as the library sorts them, not by the collation of the database.
  return [...(of.get("seed") ?? []), ...(of.get("write") ?? [])]
    .toSorted((a, b) => b.depth - a.depth || compare(a.task_id, b.task_id) || a.idx - b.idx)
    .flatMap(({ kind, task_id, ...row }) => {
      const value =
        kind === "seed" ? stored.version(row) : stored.value(openRow(encryption, { ...row, task_id }, writePlace));
      return value && (kind === "seed" || kind === "write") ? [{ ...value, kind, task_id }] : [];
    });
}

/** In SQL, the checkpoint before one; none before one that names itself. */
function above(of: string): string {
  return `select checkpoint_id, parent_checkpoint_id, checkpoint from checkpoints c
                              where c.thread_id = $1 and c.checkpoint_ns = $2 and ${of}.parent_checkpoint_id <> ${of}.checkpoint_id
                                and ${byId("c", `${of}.parent_checkpoint_id`)}`;
}

interface Row extends VersionRow, ItemRow {
  readonly kind: "item" | "seed" | "version" | "write";
  readonly depth: number;
  readonly checkpoint_id: string;
  readonly task_id: string;
  readonly idx: number;
  readonly blob: Buffer;
  readonly thread_id: string;
}
