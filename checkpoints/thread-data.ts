/**
 * What happens to the checkpoints of a whole thread or run: set-based SQL inside the caller's transaction, which has
 * taken the thread's ownership before.
 */
import type { Queryable } from "../db/pool.ts";
import { copyThreadFiles, deleteRunFiles, deleteThreadFiles } from "./files.ts";
import { sweepThread } from "./sweep.ts";

/** Deletes all checkpoints, values, pending writes and files of a thread. */
export async function deleteThreadCheckpoints(tx: Queryable, threadId: string): Promise<void> {
  await tx.query({
    name: "delete-thread-checkpoints",
    text: `
      with values_gone as (delete from checkpoint_blobs where thread_id = $1),
           writes_gone as (delete from checkpoint_writes where thread_id = $1),
           items_gone as (delete from checkpoint_items where thread_id = $1)
      delete from checkpoints where thread_id = $1`,
    values: [threadId],
  });
  await deleteThreadFiles(tx, threadId);
}

/**
 * Deletes the checkpoints that a run stored, in all namespaces, with their pending writes and the channel values that
 * no other checkpoint of the thread refers to, and what it wrote to the checkpoint it started from: answers, results of
 * tasks, changes of files. The checkpoint before the run becomes the newest again, and a question that the run answered is open again.
 *
 * A second question of the same task takes the place of the first in the table, and goes with the run: the task then
 * waits without a question, and asks again when the thread goes on.
 */
export async function deleteRunCheckpoints(tx: Queryable, threadId: string, runId: string): Promise<void> {
  await tx.query({
    name: "delete-run-checkpoints",
    text: `
      with gone as (
        delete from checkpoints
         where thread_id = $1 and metadata ->> 'run_id' = $2
        returning checkpoint_ns, checkpoint_id)
      delete from checkpoint_writes w
       where w.thread_id = $1
         and (w.run_id = $2 or (w.checkpoint_ns, w.checkpoint_id) in (select checkpoint_ns, checkpoint_id from gone))`,
    values: [threadId, runId],
  });
  await deleteRunFiles(tx, threadId, runId);
  await sweepThread(tx, threadId);
}

/** Copies all of a thread's checkpoints and files to another thread, in the order in which they were stored. */
export async function copyThreadCheckpoints(tx: Queryable, from: string, to: string): Promise<void> {
  await tx.query({
    name: "copy-thread-checkpoints",
    text: `
      with values_copied as (
        insert into checkpoint_blobs
               (thread_id, checkpoint_ns, channel, version, type, blob, items, base_version, head, tail)
        select $2, checkpoint_ns, channel, version, type, blob, items, base_version, head, tail
          from checkpoint_blobs where thread_id = $1),
      items_copied as (
        insert into checkpoint_items (thread_id, hash, item)
        select $2, hash, item from checkpoint_items where thread_id = $1),
      writes_copied as (
        insert into checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob, items,
                                       run_id)
        select $2, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob, items, run_id
          from checkpoint_writes where thread_id = $1)
      insert into checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, rest, files, metadata)
      select $2, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, rest, files,
             case when metadata ? 'thread_id' then jsonb_set(metadata, '{thread_id}', to_jsonb($2::text)) else metadata end
        from checkpoints
       where thread_id = $1
       order by seq`,
    values: [from, to],
  });
  await copyThreadFiles(tx, from, to);
}
