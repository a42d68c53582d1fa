/**
 * Ends a run: its status, the thread's status, values and interrupts, the last row of its log and the thread's next
 * head, in ONE transaction. Only then may streams close and waiters return, so nobody sees a run that is over on a
 * thread that is not up to date.
 */
import type pg from "pg";
import { deleteRunCheckpoints, deleteThreadCheckpoints } from "../checkpoints/thread-data.ts";
import { leaseLost } from "../db/fence.ts";
import { enqueue } from "../db/outbox.ts";
import { type Queryable, transaction } from "../db/pool.ts";
import { PawlError } from "../lib/errors.ts";
import { cleanJson } from "../lib/text.ts";
import type { ClaimedRun } from "./claim.ts";
import { lockThread, promoteNext } from "./queue.ts";
import type { CancelAction, RunError, RunStatus } from "./run.ts";
import { threadDeleted } from "./threads/delete.ts";
import type { ThreadProjection } from "./threads/projection.ts";

export interface Ending {
  readonly status: Exclude<RunStatus, "pending" | "running">;
  readonly error?: RunError;
  /** The run was to leave nothing behind: its row goes, its checkpoints are gone already. */
  readonly isRolledBack: boolean;
  /** What the thread looks like now; absent when that could not be read, and the thread keeps what it had. */
  readonly thread?: ThreadProjection;
  /** Number of the log row that ends the run. */
  readonly lastSeq: string;
}

/**
 * Throws `lease_lost` when another worker has the run, `run_cancelled` (with `action`) when it was cancelled and the
 * ending does not say so. Returns whether another run of the thread may be claimed.
 */
export async function finishRun(pool: pg.Pool, run: ClaimedRun, ending: Ending): Promise<{ promoted: boolean }> {
  return transaction(pool, async (tx) => {
    await lockThread(tx, run.thread_id);
    const { rowCount } = await endRun(tx, run, ending);
    if (rowCount !== 1) throw (await lateCancel(tx, run)) ?? leaseLost(run);
    if (ending.status === "interrupted" || run.temporary) await fenceOff(tx, run);
    if (run.temporary) {
      await deleteThreadCheckpoints(tx, run.thread_id);
      await enqueue(tx, threadDeleted(run.tenant, run.thread_id));
      await tx.query({
        name: "delete-temporary-thread",
        text: "delete from threads where thread_id = $1",
        values: [run.thread_id],
      });
      return { promoted: false };
    }
    if (ending.isRolledBack) {
      await tx.query({
        name: "delete-rolled-back-run",
        text: "delete from runs where run_id = $1",
        values: [run.run_id],
      });
    }
    await updateThread(tx, run.thread_id, ending);
    return { promoted: await promoteNext(tx, run.thread_id) };
  });
}

/** A cancel that was accepted after the run was through, but before this: who asked was told that it would stop. */
async function lateCancel(tx: Queryable, run: ClaimedRun): Promise<PawlError | undefined> {
  const { rows } = await tx.query<{ cancel_action: CancelAction | null }>({
    name: "late-cancel",
    text: "select cancel_action from runs where run_id = $1 and epoch = $2 and status = 'running'",
    values: [run.run_id, run.epoch],
  });
  const action = rows[0]?.cancel_action;
  return action ? new PawlError("run_cancelled", "The run was cancelled", { facts: { action } }) : undefined;
}

/** Deletes what a run that is being rolled back has stored. Fenced and idempotent; before the thread is read and the run finished. */
export async function undoCheckpoints(pool: pg.Pool, run: ClaimedRun): Promise<void> {
  await transaction(pool, async (tx) => {
    const { rowCount } = await tx.query({
      name: "hold-owner",
      text: "select from thread_owner where thread_id = $1 and epoch = $2 for share",
      values: [run.thread_id, run.epoch],
    });
    if (rowCount !== 1) throw leaseLost(run);
    await deleteRunCheckpoints(tx, run.thread_id, run.run_id);
  });
}

/**
 * A cancelled graph may have left a task behind that ignores its signal: what it still writes is refused. Before a thread
 * is deleted it also keeps the order of locks, and checkpoints from landing behind the deletion.
 */
async function fenceOff(tx: Queryable, run: ClaimedRun): Promise<void> {
  await tx.query({
    name: "fence-off",
    text: "update thread_owner set epoch = epoch + 1, worker_id = null where thread_id = $1 and epoch = $2",
    values: [run.thread_id, run.epoch],
  });
}

/** The run's status and the last row of its log; no row if the run is not this worker's any more, or was cancelled. */
function endRun(tx: Queryable, run: ClaimedRun, { status, error, isRolledBack, thread, lastSeq }: Ending) {
  // The values of a thread that stays are in its row; those of one that goes have no other place.
  const values = run.temporary ? { values: thread?.values ?? null } : {};
  return tx.query({
    name: "finish-run",
    text: `
      with ended as (
        update runs
           set status = $3, error = $4, ready = false, worker_id = null, ended_at = now(), updated_at = now()
         where run_id = $1 and epoch = $2 and status = 'running'
           and (cancel_action is null or ($3 = 'interrupted' and (cancel_action = 'interrupt' or $5)))
        returning thread_id, tenant, run_id)
      insert into thread_events (thread_id, last_seq, tenant, run_id, events, outcome)
      select thread_id, $6, tenant, run_id, '[]', $7 from ended`,
    values: [
      run.run_id,
      run.epoch,
      status,
      error ?? null,
      isRolledBack,
      lastSeq,
      JSON.stringify({ status, ...(error && { error }), ...values }),
    ],
  });
}

async function updateThread(tx: Queryable, threadId: string, { thread, error }: Ending): Promise<void> {
  const values = thread && cleanJson(thread.values);
  await tx.query({
    name: "update-thread-after-run",
    text: `
      update threads
         set rest_status = rest.status,
             status = case when exists (select from runs r where r.thread_id = $1 and r.status in ('pending', 'running'))
                           then 'busy' else rest.status end,
             error = $2,
             "values" = case when $4 then $5::jsonb else "values" end,
             interrupts = case when $4 then $6::jsonb else interrupts end,
             state_updated_at = now(), updated_at = now()
        from (select case when $2::jsonb is not null then 'error' else coalesce($3, 'idle') end as status) rest
       where thread_id = $1`,
    values: [
      threadId,
      error ?? null,
      thread?.status ?? null,
      thread !== undefined,
      values === undefined ? null : JSON.stringify(values),
      JSON.stringify(thread?.interrupts ?? {}),
    ],
  });
}
