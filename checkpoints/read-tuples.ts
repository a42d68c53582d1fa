/**
 * Reads checkpoints with their channel values and pending writes: one statement, plain rows. The stock saver
 * aggregates the values into arrays of bytea, which arrive as text to be parsed character by character.
 *
 * Newest means stored last (`seq`), never the highest id: an id carries the clock of its writer.
 */
import type { Queryable } from "../db/pool.ts";
import type { Encryption } from "./encryption.ts";
import { isAsStoredBy, openItem, openRow, versionPlace, writePlace } from "./sealed-rows.ts";
import { isBeforeSends, versionsOf, wholeOf } from "./short-rows.ts";
import { NULL } from "./triggers.ts";
import { itemsOf, type ItemsRow, StoredValues, type Value, type VersionRow } from "./stored-values.ts";

export interface StoredTuple {
  /** Its place in the order in which checkpoints were stored. */
  readonly seq: string;
  readonly thread_id: string;
  readonly checkpoint_ns: string;
  readonly checkpoint_id: string;
  readonly parent_checkpoint_id: string | null;
  readonly checkpoint: StoredCheckpoint;
  readonly metadata: Record<string, unknown>;
  readonly values: readonly Value[];
  /** What the step before sent to this one, for a checkpoint that does not hold it itself. */
  readonly sent: readonly Value[];
  /** Whether later versions may refer to the rows of `values`; not if they are encrypted otherwise than those will be. */
  readonly canBuildOn: boolean;
  readonly writes: readonly (Value & { readonly task_id: string; readonly idx: number })[];
}

/** A checkpoint without the values of its channels. */
export interface StoredCheckpoint {
  v: number;
  id: string;
  ts: string;
  channel_versions: Record<string, number | string>;
  versions_seen: Record<string, Record<string, number | string>>;
}

export interface Selection {
  /** The condition on `cp` (table checkpoints), and what follows it, up to and without `order by`. */
  readonly where: string;
  readonly values: readonly unknown[];
  readonly limit?: number | undefined;
  /** Opens what is sealed. */
  readonly encryption: Encryption | undefined;
  /** Given for texts that repeat, so that each connection parses them once. */
  readonly name?: string;
}

const LEAST_UUID = "00000000-0000-0000-0000-000000000000";

/**
 * The selected checkpoints, newest first.
 *
 * `limit 1` under a lateral join has each row looked up by its key, also where the planner takes a table for small that
 * has grown since. Conditions that always hold (`>= ''`) lower its guess of how many rows there are, 100 for each
 * checkpoint and 10 times as many for each column of a recursion, under the cost at which it would compile the query.
 */
export async function readTuples(
  db: Queryable,
  { where, values, limit, name, encryption }: Selection,
): Promise<StoredTuple[]> {
  const { rows } = await db.query<Row>({
    ...(name && { name }),
    text: `
      with recursive page as materialized (
        select seq, thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata, rest
          from checkpoints cp
         where ${where}
         order by seq desc
         limit $${values.length + 1}),
      versions as (
        select b.thread_id, b.checkpoint_ns, b.channel, b.version, b.type, b.blob, b.items, b.base_version, b.head, b.tail
          from page p
         cross join jsonb_each_text(${versionsOf("p.checkpoint")}) v
         cross join lateral (select * from checkpoint_blobs b
                              where b.thread_id = p.thread_id and b.checkpoint_ns = p.checkpoint_ns
                                and b.channel = v.key and b.version = v.value
                              limit 1) b
         where b.type <> 'empty' and v.key >= '' and v.value >= ''
         union
        select b.thread_id, b.checkpoint_ns, b.channel, b.version, b.type, b.blob, b.items, b.base_version, b.head, b.tail
          from versions v
         cross join lateral (select * from checkpoint_blobs b
                              where b.thread_id = v.thread_id and b.checkpoint_ns = v.checkpoint_ns
                                and b.channel = v.channel and b.version = v.base_version
                              limit 1) b),
      writes as (
        select 'write' as kind, p.seq, w.thread_id, w.checkpoint_ns, w.checkpoint_id, w.task_id, w.idx, w.channel, w.type, w.blob, w.items
          from page p
          join checkpoint_writes w on w.thread_id = p.thread_id and w.checkpoint_ns = p.checkpoint_ns
                                  and w.checkpoint_id = p.checkpoint_id
         union all
        -- Before version 4 of the format, what a step sent to the next one stayed with the parent's writes.
        select 'sent', p.seq, w.thread_id, w.checkpoint_ns, w.checkpoint_id, w.task_id, w.idx, w.channel, w.type, w.blob, w.items
          from page p
          join checkpoint_writes w on w.thread_id = p.thread_id and w.checkpoint_ns = p.checkpoint_ns
                                  and w.checkpoint_id = p.parent_checkpoint_id and w.channel = '__pregel_tasks'
         where ${isBeforeSends("p")})
      select 'checkpoint' as kind, seq, thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata,
             null as task_id, null::int as idx, null as channel, null as version, null as type, rest as blob,
             null::uuid[] as items, null as base_version, null::int as head, null::int as tail, null as hashes, null as sizes
        from page
       union all
      select 'version', null, thread_id, checkpoint_ns, null, null, null, null,
             null, null, channel, version, type, blob, items, base_version, head, tail, null, null
        from versions
       union all
      select kind, seq, thread_id, checkpoint_ns, checkpoint_id, null, null, null,
             task_id, idx, channel, null, type, blob, items, null, null, null, null, null
        from writes
       union all
      -- One row for all items of a thread: a row for each would take longer to be taken apart than to be read.
      select 'items', null, used.thread_id, null, null, null, null, null,
             null, null, null, null, null, string_agg(i.item, ''), null, null, null, null,
             string_agg(used.hash::text, ','), string_agg(length(i.item)::text, ',')
        from (select thread_id, u.hash from versions cross join unnest(items) as u(hash) where u.hash >= $${values.length + 2}
               union
              select thread_id, u.hash from writes cross join unnest(items) as u(hash)) used
       cross join lateral (select item from checkpoint_items i
                            where i.thread_id = used.thread_id and i.hash = used.hash
                            limit 1) i
       group by used.thread_id`,
    values: [...values, limit ?? null, LEAST_UUID],
  });
  return assemble(rows, encryption);
}

interface Row extends Omit<StoredTuple, "canBuildOn" | "values" | "sent" | "writes">, VersionRow, ItemsRow {
  readonly thread_id: string;
  readonly checkpoint_ns: string;
  readonly kind: "checkpoint" | "items" | "sent" | "version" | "write";
  readonly task_id: string;
  readonly idx: number;
  readonly blob: Buffer;
}

function assemble(rows: readonly Row[], encryption: Encryption | undefined): StoredTuple[] {
  const of = Map.groupBy(rows, ({ kind }) => kind);
  const versions = of.get("version") ?? [];
  const items = (of.get("items") ?? []).flatMap(itemsOf);
  const canBuildOn = [...versions, ...items].every(({ blob }) => isAsStoredBy(encryption, blob));
  const stored = new StoredValues(
    versions.map((row) => openRow(encryption, row, versionPlace)),
    items.map((item) => openItem(encryption, item)),
  );
  const writesOf = (kind: "sent" | "write"): Map<string, Row[]> => {
    const opened = (of.get(kind) ?? []).map((row) => openRow(encryption, row, writePlace));
    return Map.groupBy(opened.toSorted(byTask), ({ seq }) => seq);
  };
  const [writes, sent] = [writesOf("write"), writesOf("sent")];
  return (of.get("checkpoint") ?? [])
    .toSorted((a, b) => (BigInt(a.seq) < BigInt(b.seq) ? 1 : -1))
    .map((row) => ({ ...row, ...wholeOf({ ...row, rest: row.blob }) }))
    .map((row) => ({
      ...row,
      canBuildOn,
      values: Object.entries(row.checkpoint.channel_versions).flatMap(
        ([channel, version]) =>
          stored.version({ ...row, channel, version: String(version) }) ??
          (row.nulls.has(channel) ? { channel, type: "json", data: NULL } : []),
      ),
      writes: (writes.get(row.seq) ?? []).map((write) => ({
        ...stored.value(write),
        task_id: write.task_id,
        idx: write.idx,
      })),
      sent: (sent.get(row.seq) ?? []).map((write) => stored.value(write)),
    }));
}

function byTask(a: Row, b: Row): number {
  if (a.task_id !== b.task_id) return a.task_id < b.task_id ? -1 : 1;
  return a.idx - b.idx;
}
