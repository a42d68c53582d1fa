/**
 * Writes checkpoints and pending writes, each in one statement: the fence, if there is one, the values and the row
 * land together or not at all. Values are scalar parameters of a multi-row `values` list, which `pg` sends as they are;
 * an array of bytea would travel as hex text.
 */
import { fence, type Owner } from "../db/fence.ts";
import type { Queryable } from "../db/pool.ts";

export interface PutCheckpoint {
  readonly owner: Owner | null;
  /** Thread, namespace, checkpoint id, parent checkpoint id. */
  readonly row: readonly [string, string, string, string | null];
  readonly checkpoint: unknown;
  readonly metadata: unknown;
  readonly blobs: readonly { channel: string; version: string; type: string; blob: Uint8Array | undefined }[];
}

/** False when the owner has changed and nothing was written. */
export async function putCheckpoint(db: Queryable, put: PutCheckpoint): Promise<boolean> {
  const parameters = new Parameters(put.owner);
  const [thread, ns, id, parent] = put.row.map((value) => `${parameters.add(value)}::text`);
  const checkpoint = `${parameters.add(JSON.stringify(put.checkpoint))}::jsonb`;
  const metadata = `${parameters.add(JSON.stringify(put.metadata))}::jsonb`;
  const blobs = put.blobs.map(
    ({ channel, version, type, blob }) =>
      `(${parameters.add(channel)}::text, ${parameters.add(version)}::text, ${parameters.add(type)}::text, ${parameters.add(blob ?? null)}::bytea)`,
  );
  const { rowCount } = await db.query({
    ...named(`put-checkpoint-${put.owner ? "fenced" : "plain"}`, blobs.length),
    text: `
      with ${parameters.fence},
      ${
        blobs.length > 0
          ? `blobs as (
        insert into checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
        select ${thread}, ${ns}, v.channel, v.version, v.type, v.blob
          from fence cross join (values ${blobs.join(", ")}) as v(channel, version, type, blob)
            on conflict do nothing),`
          : ""
      }
      stored as (
        insert into checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata)
        select ${thread}, ${ns}, ${id}, ${parent}, ${checkpoint}, ${metadata} from fence
            on conflict (thread_id, checkpoint_ns, checkpoint_id)
            do update set checkpoint = excluded.checkpoint, metadata = excluded.metadata)
      select from fence`,
    values: parameters.values,
  });
  return rowCount === 1;
}

export interface PutWrites {
  readonly owner: Owner | null;
  /** Thread, namespace, checkpoint id, task id. */
  readonly row: readonly [string, string, string, string];
  /** The run on whose behalf they are, so that its rollback finds them on checkpoints of earlier runs. */
  readonly runId: string | null;
  readonly writes: readonly { idx: number; channel: string; type: string; blob: Uint8Array }[];
  /** Whether the writes take the place of earlier ones with the same index, or stand back. */
  readonly replace: boolean;
  /**
   * Whether to leave it to the next commit that the writes are on disk. For the results of tasks: the checkpoint of
   * their step follows, and a crash of Postgres before it costs that step. Never for questions and answers.
   */
  readonly lazy: boolean;
}

/** False when the owner has changed and nothing was written. */
export async function putWrites(db: Queryable, put: PutWrites): Promise<boolean> {
  // One statement may touch a row only once: of those with one index the last counts, or the first, as in the stock saver.
  const ordered = put.replace ? put.writes : put.writes.toReversed();
  const writes = [...new Map(ordered.map((write) => [write.idx, write])).values()];
  if (writes.length === 0) return true;
  const parameters = new Parameters(put.owner);
  const row = [...put.row, put.runId].map((value) => `${parameters.add(value)}::text`).join(", ");
  const values = writes.map(
    ({ idx, channel, type, blob }) =>
      `(${parameters.add(idx)}::int, ${parameters.add(channel)}::text, ${parameters.add(type)}::text, ${parameters.add(blob)}::bytea)`,
  );
  const onConflict = put.replace
    ? `on conflict (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
            do update set channel = excluded.channel, type = excluded.type, blob = excluded.blob, run_id = excluded.run_id`
    : "on conflict do nothing";
  const { rowCount } = await db.query({
    ...named(
      `put-writes-${put.owner ? "fenced" : "plain"}-${put.replace ? "replace" : "keep"}-${put.lazy ? "lazy" : "sync"}`,
      writes.length,
    ),
    text: `
      with ${parameters.fence},
      allowed as materialized (select ${put.lazy ? "set_config('synchronous_commit', 'off', true)" : "1"} from fence),
      stored as (
        insert into checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, run_id, idx, channel, type, blob)
        select ${row}, v.idx, v.channel, v.type, v.blob
          from allowed cross join (values ${values.join(", ")}) as v(idx, channel, type, blob)
            ${onConflict})
      select from fence`,
    values: parameters.values,
  });
  return rowCount === 1;
}

/** The parameters of a statement whose first two belong to the fence. */
class Parameters {
  readonly values: unknown[];
  /** The first CTE: one row if writing is allowed. */
  readonly fence: string;

  constructor(owner: Owner | null) {
    this.values = owner ? [owner.thread_id, owner.epoch] : [];
    this.fence = owner ? fence : "fence as materialized (select 1)";
  }

  add(value: unknown): string {
    this.values.push(value);
    return `$${this.values.length}`;
  }
}

/** Statements are kept per connection, so only those of a usual size get a name. */
function named(name: string, rows: number): { name?: string } {
  return rows <= 16 ? { name: `${name}-${rows}` } : {};
}
