/**
 * Reads checkpoints with their channel values and pending writes: one statement, plain rows. The stock saver
 * aggregates the values into arrays of bytea, which arrive as text to be parsed character by character.
 *
 * Newest means stored last (`seq`), never the highest id: an id carries the clock of its writer.
 */
import type { Queryable } from "../db/pool.ts";

/** A value as the serializer left it. */
export interface StoredValue {
  readonly channel: string;
  readonly type: string;
  readonly blob: Buffer;
}

export interface StoredTuple {
  readonly thread_id: string;
  readonly checkpoint_ns: string;
  readonly checkpoint_id: string;
  readonly parent_checkpoint_id: string | null;
  readonly checkpoint: StoredCheckpoint;
  readonly metadata: Record<string, unknown>;
  readonly values: readonly StoredValue[];
  /** What the step before sent to this one, for a checkpoint that does not hold it itself. */
  readonly sent: readonly StoredValue[];
  readonly writes: readonly (StoredValue & { readonly task_id: string })[];
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
  /** Given for texts that repeat, so that each connection parses them once. */
  readonly name?: string;
}

/** The selected checkpoints, newest first. */
export async function readTuples(db: Queryable, { where, values, limit, name }: Selection): Promise<StoredTuple[]> {
  const { rows } = await db.query<Row>({
    ...(name && { name }),
    text: `
      with page as materialized (
        select seq, thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata
          from checkpoints cp
         where ${where}
         order by seq desc
         limit $${values.length + 1})
      select 'checkpoint' as kind, seq, thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata,
             null as task_id, null::int as idx, null as channel, null as type, null::bytea as blob
        from page
       union all
      select 'value', p.seq, null, null, null, null, null, null, null, null, b.channel, b.type, b.blob
        from page p
       cross join jsonb_each_text(p.checkpoint -> 'channel_versions') v
        join checkpoint_blobs b on b.thread_id = p.thread_id and b.checkpoint_ns = p.checkpoint_ns
                               and b.channel = v.key and b.version = v.value
       where b.type <> 'empty'
       union all
      select 'write', p.seq, null, null, null, null, null, null, w.task_id, w.idx, w.channel, w.type, w.blob
        from page p
        join checkpoint_writes w on w.thread_id = p.thread_id and w.checkpoint_ns = p.checkpoint_ns
                                and w.checkpoint_id = p.checkpoint_id
       union all
      -- Before version 4 of the format, what a step sent to the next one stayed with the parent's writes.
      select 'sent', p.seq, null, null, null, null, null, null, w.task_id, w.idx, w.channel, w.type, w.blob
        from page p
        join checkpoint_writes w on w.thread_id = p.thread_id and w.checkpoint_ns = p.checkpoint_ns
                                and w.checkpoint_id = p.parent_checkpoint_id and w.channel = '__pregel_tasks'
       where (p.checkpoint ->> 'v')::int < 4
       order by seq desc, kind, task_id, idx, channel`,
    values: [...values, limit ?? null],
  });
  return [...Map.groupBy(rows, (row) => row.seq).values()].map(group);
}

interface Row extends Omit<StoredTuple, "values" | "sent" | "writes"> {
  readonly kind: "checkpoint" | "sent" | "value" | "write";
  readonly seq: string;
  readonly task_id: string;
  readonly channel: string;
  readonly type: string;
  readonly blob: Buffer;
}

/** `checkpoint` sorts before the other kinds. */
function group([head, ...rest]: readonly Row[]): StoredTuple {
  if (head?.kind !== "checkpoint") throw new Error("A checkpoint's values came without it");
  return {
    ...head,
    values: rest.filter((row) => row.kind === "value"),
    sent: rest.filter((row) => row.kind === "sent"),
    writes: rest.filter((row) => row.kind === "write"),
  };
}
