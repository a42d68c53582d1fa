/** Threads in the tables of LangGraph's own saver as that one leaves them: without Pawl's columns, every value as a whole. */
import type { Queryable } from "../db/pool.ts";
import { bytesOf, type CheckpointLine, type TransferredCheckpoint, type TransferTarget } from "./transfer-lines.ts";

/** Oldest first, by id: the stock saver has no other order. */
export async function* stockCheckpoints(db: Queryable, threadId: string): AsyncGenerator<TransferredCheckpoint> {
  const { rows } = await db.query<{ ns: string; id: string }>(
    `select checkpoint_ns as ns, checkpoint_id as id
       from checkpoints where thread_id = $1 order by checkpoint_id, checkpoint_ns`,
    [threadId],
  );
  for (const { ns, id } of rows) {
    const at = [threadId, ns, id];
    const found = await db.query<Omit<CheckpointLine, "kind">>(
      `select checkpoint_ns as ns, checkpoint_id as id, parent_checkpoint_id as parent, checkpoint, metadata
         from checkpoints where thread_id = $1 and checkpoint_ns = $2 and checkpoint_id = $3`,
      at,
    );
    const [checkpoint] = found.rows;
    if (!checkpoint) continue;
    const values = await db.query<TransferredCheckpoint["values"][number]>(
      `select b.channel, b.type, b.blob as data
         from checkpoints c
        cross join jsonb_each_text(c.checkpoint -> 'channel_versions') v
         join checkpoint_blobs b on b.thread_id = c.thread_id and b.checkpoint_ns = c.checkpoint_ns
                                and b.channel = v.key and b.version = v.value
        where c.thread_id = $1 and c.checkpoint_ns = $2 and c.checkpoint_id = $3 and b.type <> 'empty'`,
      at,
    );
    const writes = await db.query<TransferredCheckpoint["writes"][number]>(
      `select task_id, idx, channel, type, blob as data
         from checkpoint_writes
        where thread_id = $1 and checkpoint_ns = $2 and checkpoint_id = $3
        order by task_id, idx`,
      at,
    );
    yield { ...checkpoint, values: values.rows, writes: writes.rows };
  }
}

export function stockTarget(tx: Queryable, threadId: string): TransferTarget {
  return {
    async value(line) {
      await tx.query(
        `insert into checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
         values ($1, $2, $3, $4, $5, $6)`,
        [threadId, line.ns, line.channel, line.version, line.type, bytesOf(line)],
      );
    },
    async checkpoint({ ns, id, parent, checkpoint, metadata }) {
      await tx.query(
        `insert into checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata)
         values ($1, $2, $3, $4, $5, $6)`,
        [threadId, ns, id, parent, checkpoint, ownMetadata(metadata, threadId)],
      );
    },
    async write(line) {
      await tx.query(
        `insert into checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob)
         values ($1, $2, $3, $4, $5, $6, $7, $8)`,
        [threadId, line.ns, line.checkpoint_id, line.task_id, line.idx, line.channel, line.type, bytesOf(line)],
      );
    },
  };
}

/** Metadata may name the thread; under another id it names that. */
export function ownMetadata(metadata: Record<string, unknown>, threadId: string): Record<string, unknown> {
  return "thread_id" in metadata ? { ...metadata, thread_id: threadId } : metadata;
}
