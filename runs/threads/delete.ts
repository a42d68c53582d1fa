/**
 * Deletes a thread with all that is on it. Nothing is refused: a run that is under way is over, because its owner row
 * is gone, and whatever its worker still writes lands nowhere. Its events go later, by their age: a client may still be reading.
 */
import { deleteThreadCheckpoints } from "../../checkpoints/thread-data.ts";
import type { Queryable } from "../../db/pool.ts";
import type { ThreadId } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import { enqueue, type OutboxEntry } from "../../db/outbox.ts";
import { threadNotFound } from "./get.ts";

/** What is left to do outside the database once a thread is gone: its workspace is on a disk. */
export const THREAD_DELETED = "thread_deleted";

export function threadDeleted(tenant: string, threadId: string): OutboxEntry {
  return { tenant, kind: THREAD_DELETED, payload: { thread_id: threadId } };
}

/**
 * Expects a transaction. Returns the runs that were live, so that their workers can be told. Throws `thread_not_found`.
 */
export async function deleteThread(tx: Queryable, { tenant }: Principal, threadId: ThreadId): Promise<string[]> {
  const { rowCount } = await tx.query({
    name: "lock-thread-to-delete",
    // NO KEY: a writer that holds the owner row may still have to refer to this one, and the owner row is waited for next.
    text: "select from threads where tenant = $1 and thread_id = $2 for no key update",
    values: [tenant, threadId],
  });
  if (rowCount === 0) throw threadNotFound(threadId);
  // In the order in which everybody locks; a cascade would take the owner first.
  const { rows } = await tx.query<{ run_id: string; is_live: boolean }>({
    name: "delete-runs-of-thread",
    text: "delete from runs where thread_id = $1 returning run_id, status in ('pending', 'running') as is_live",
    values: [threadId],
  });
  // From here on no worker can write, and what it wrote before has been committed and is seen below.
  await tx.query({
    name: "delete-thread-owner",
    text: "delete from thread_owner where thread_id = $1",
    values: [threadId],
  });
  await deleteThreadCheckpoints(tx, threadId);
  await enqueue(tx, threadDeleted(tenant, threadId));
  await tx.query({ name: "delete-thread", text: "delete from threads where thread_id = $1", values: [threadId] });
  return rows.filter((run) => run.is_live).map((run) => run.run_id);
}
