/**
 * The order of a thread's runs: which one is its head. Each function expects the thread's row to be locked by the
 * caller's transaction, which is what keeps the `ready` flag true for one run only (and a unique index proves it).
 */
import type { Queryable } from "../db/pool.ts";

/** Locks the thread's row; false when there is no such thread. The first lock of every transaction that touches its runs. */
export async function lockThread(tx: Queryable, threadId: string): Promise<boolean> {
  const { rowCount } = await tx.query({
    name: "lock-thread",
    // NO KEY, so that rows which refer to the thread can be inserted meanwhile by writers that hold their fence.
    text: "select from threads where thread_id = $1 for no key update",
    values: [threadId],
  });
  return rowCount === 1;
}

/**
 * Makes the oldest due run the head, unless the thread has one. By the time at which a run became due, so a delayed
 * run does not hold up later ones. Returns whether there is a new head to be claimed.
 */
export async function promoteNext(tx: Queryable, threadId: string): Promise<boolean> {
  const { rowCount } = await tx.query({
    name: "promote-next-run",
    text: `
      update runs
         set ready = true
       where run_id = (select run_id
                         from runs
                        where thread_id = $1 and status = 'pending' and run_after <= clock_timestamp()
                        order by run_after, seq
                        limit 1)
         and not exists (select from runs where thread_id = $1 and ready)`,
    values: [threadId],
  });
  return rowCount === 1;
}

/** Brings the thread's status in line with its runs. */
export async function settleThread(tx: Queryable, threadId: string): Promise<void> {
  await tx.query({
    name: "settle-thread",
    text: `
      update threads t
         set status = case when exists (select from runs r where r.thread_id = $1 and r.status in ('pending', 'running'))
                           then 'busy' else t.rest_status end,
             updated_at = now()
       where thread_id = $1`,
    values: [threadId],
  });
}
