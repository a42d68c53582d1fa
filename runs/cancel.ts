/** Asks runs to stop: a pending one ends at once, a running one through its row and a signal to its worker. */
import type { Queryable } from "../db/pool.ts";
import { promoteNext } from "./queue.ts";
import type { CancelAction } from "./run.ts";

interface CancelRunsOptions {
  readonly threadId: string;
  /** Absent for all live runs of the thread. */
  readonly runId?: string;
  readonly action: CancelAction;
}

interface Cancelled {
  /** Over: these were pending. */
  readonly ended: string[];
  /** Still executing: a signal has to tell their workers. */
  readonly stopping: string[];
  /** One of them was stateless, and never began: its thread has nothing to stay for. */
  readonly endedTemporary: boolean;
  /** Another run of the thread may be claimed now. */
  readonly promoted: boolean;
}

/** Expects the thread's row to be locked. Idempotent: a run in a final state is left as it is. */
export async function cancelRuns(tx: Queryable, { threadId, runId, action }: CancelRunsOptions): Promise<Cancelled> {
  const values = [threadId, runId ?? null];
  // Pending first: a run that is claimed meanwhile is caught by the second statement, and none goes back to pending
  // without the thread's lock.
  const ended = await tx.query<{ run_id: string; temporary: boolean }>(
    action === "rollback"
      ? {
          name: "delete-pending-runs",
          text: `
            delete from runs
             where thread_id = $1 and ($2::uuid is null or run_id = $2) and status = 'pending' and started_at is null
            returning run_id, temporary`,
          values,
        }
      : {
          name: "interrupt-pending-runs",
          text: `
            update runs
               set status = 'interrupted', ready = false, ended_at = now(), updated_at = now()
             where thread_id = $1 and ($2::uuid is null or run_id = $2) and status = 'pending' and started_at is null
            returning run_id, temporary`,
          values,
        },
  );
  const stopping = await tx.query<{ run_id: string }>({
    name: "tell-runs-to-stop",
    text: `
      update runs
         set cancel_action = case when cancel_action = 'rollback' then 'rollback' else $3 end, updated_at = now()
       where thread_id = $1 and ($2::uuid is null or run_id = $2)
         and (status = 'running' or (status = 'pending' and started_at is not null))
      returning run_id`,
    values: [...values, action],
  });
  const promoted = ended.rowCount ? await promoteNext(tx, threadId) : false;
  return {
    ended: ended.rows.map((r) => r.run_id),
    endedTemporary: ended.rows.some((r) => r.temporary),
    stopping: stopping.rows.map((r) => r.run_id),
    promoted,
  };
}
