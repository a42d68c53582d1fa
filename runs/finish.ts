/**
 * Ends a run: its status, the thread's status, values and interrupts, the last row of its log and the thread's next
 * head, in ONE transaction. Only then may streams close and waiters return, so nobody sees a run that is over on a
 * thread that is not up to date.
 */
import type { Pool, QueryConfig } from "pg";
import { type Encryption, encryptionOf } from "../checkpoints/encryption.ts";
import { storedJson, storedText } from "../checkpoints/sealed-text.ts";
import { deleteRunCheckpoints, deleteThreadCheckpoints } from "../checkpoints/thread-data.ts";
import { leaseLost } from "../db/fence.ts";
import { enqueue } from "../db/outbox.ts";
import { openedTransaction, type Queryable, transaction, transactionAtOnce } from "../db/pool.ts";
import { PawlError } from "../lib/errors.ts";
import { cleanJson } from "../lib/text.ts";
import type { ClaimedRun } from "./claim.ts";
import type { LogRow } from "./events/log-rows.ts";
import { lockThread } from "./queue.ts";
import type { CancelAction, RunError, RunStatus } from "./run.ts";
import { errorPlace, logPlace } from "./sealed-columns.ts";
import { threadDeleted } from "./threads/delete.ts";
import type { ThreadProjection } from "./threads/projection.ts";
import { storedState, threadErrorPlace } from "./threads/sealed-state.ts";

export interface Ending {
  readonly status: Exclude<RunStatus, "pending" | "running">;
  readonly error?: RunError;
  /** The run was to leave nothing behind: its row goes, its checkpoints are gone already. */
  readonly isRolledBack: boolean;
  /** Whether the answer to the POST that created the run is known to have arrived. */
  readonly isAnswered: boolean;
  /** What the thread looks like now; absent when that could not be read, and the thread keeps what it had. */
  readonly thread?: ThreadProjection;
  /** The row that ends the run's log, with the events that are not in it yet. */
  readonly log: LogRow;
}

/**
 * Throws `lease_lost` when another worker has the run, `run_cancelled` (with `action`) when it was cancelled and the
 * ending does not say so. Returns whether another run of the thread may be claimed.
 */
export async function finishRun(pool: Pool, run: ClaimedRun, ending: Ending): Promise<{ promoted: boolean }> {
  const lock = (tx: Queryable) => lockThread(tx, run.thread_id);
  const statement = finishStatement(run, ending, encryptionOf(pool));
  const finish = (tx: Queryable) => tx.query<Finished>(statement);
  if (!run.temporary && !ending.isRolledBack) {
    const [, { rows }] = await transactionAtOnce(pool, (tx) => Promise.all([lock(tx), finish(tx)]));
    return unlessRefused(run, rows[0]);
  }
  return openedTransaction(pool, lock, async (tx) => {
    const finished = unlessRefused(run, (await finish(tx)).rows[0]);
    if (run.temporary) await deleteTemporaryThread(tx, run);
    else {
      // Again, now that a new epoch keeps out what the stopped graph still had under way when it was undone.
      await deleteRunCheckpoints(tx, run.thread_id, run.run_id);
      await tx.query({
        name: "delete-rolled-back-run",
        text: "delete from runs where run_id = $1",
        values: [run.run_id],
      });
    }
    return finished;
  });
}

interface Finished {
  readonly ended: boolean;
  readonly promoted: boolean;
  /** Of a run that has not ended: a cancel that was accepted after the run was through, but before this. */
  readonly cancel_action: CancelAction | null;
}

/** A statement that was refused has changed nothing. */
function unlessRefused(run: ClaimedRun, finished: Finished | undefined): { promoted: boolean } {
  const { ended = false, promoted = false, cancel_action = null } = finished ?? {};
  if (!ended) throw cancel_action ? cancelled(cancel_action) : leaseLost(run);
  return { promoted };
}

/** Whoever asked for the cancel was told that the run would stop, so it must not end as a success. */
function cancelled(action: CancelAction): PawlError {
  return new PawlError("run_cancelled", "The run was cancelled", { facts: { action } });
}

async function deleteTemporaryThread(tx: Queryable, { tenant, thread_id }: ClaimedRun): Promise<void> {
  await deleteThreadCheckpoints(tx, thread_id);
  await enqueue(tx, threadDeleted(tenant, thread_id));
  await tx.query({
    name: "delete-temporary-thread",
    text: "delete from threads where thread_id = $1",
    values: [thread_id],
  });
}

/** Deletes what a run that is being rolled back has stored. Fenced and idempotent; before the thread is read and the run finished. */
export async function undoCheckpoints(pool: Pool, run: ClaimedRun): Promise<void> {
  await transaction(pool, async (tx) => {
    const { rowCount } = await tx.query({
      name: "hold-owner",
      // Not shared: a write of the run that is still under way comes before or after, not between.
      text: "select from thread_owner where thread_id = $1 and epoch = $2 for no key update",
      values: [run.thread_id, run.epoch],
    });
    if (rowCount !== 1) throw leaseLost(run);
    await deleteRunCheckpoints(tx, run.thread_id, run.run_id);
  });
}

/**
 * All that an end changes while its thread stays, in one statement that does nothing if the run is not this worker's any
 * more or was cancelled: the run, the last row of its log, its thread, the thread's next head.
 *
 * A cancelled graph may have left a task behind that ignores its signal: what it still writes is refused by another epoch.
 * Before a temporary thread is deleted that also keeps the order of locks, and checkpoints from landing behind the deletion.
 */
function finishStatement(
  run: ClaimedRun,
  { status, error, isRolledBack, isAnswered, thread, log }: Ending,
  encryption: Encryption | undefined,
): QueryConfig {
  const stored = thread && storedState(encryption, run.thread_id, { ...thread, values: cleanJson(thread.values) });
  // The values of a thread that stays are in its row; those of one that goes have no other place.
  const outcome = { status, ...(error && { error }), ...(run.temporary && { values: thread?.values ?? null }) };
  return {
    name: "finish-run",
    text: `
      with ended as (
        update runs
           set status = $3, error = $4, ready = false, worker_id = null, ended_at = now(), updated_at = now(),
               answered = answered or $13
         where run_id = $1 and epoch = $2 and status = 'running'
           and (cancel_action is null or ($3 = 'interrupted' and (cancel_action = 'interrupt' or $5)))
        returning thread_id, tenant, run_id, temporary),
      logged as (
        insert into thread_events (thread_id, last_seq, tenant, run_id, events, outcome)
        select thread_id, $6, tenant, run_id, $7, $8 from ended),
      fenced as (
        update thread_owner o
           -- Nobody makes a thread again whose id the server chose: of one that was never owned nothing is kept.
           set epoch = case when temporary then 0 else o.epoch + 1 end, worker_id = null
          from ended
         where o.thread_id = ended.thread_id and o.epoch = $2 and ($3 = 'interrupted' or temporary)),
      others as (
        select r.run_id, r.status, r.run_after, r.seq
          from ended join runs r using (thread_id)
         where r.run_id <> ended.run_id and r.status in ('pending', 'running')),
      next as (
        select run_id from others
         where status = 'pending' and run_after <= clock_timestamp()
         order by run_after, seq
         limit 1),
      promoted as (
        update runs r
           set ready = true
          from ended, next
         where r.run_id = next.run_id and not ended.temporary
        returning r.run_id),
      settled as (
        update threads t
           set rest_status = rest.status,
               status = case when exists (select from others) then 'busy' else rest.status end,
               error = $14,
               "values" = case when $10 then $11::jsonb else "values" end,
               interrupts = case when $10 then $12::jsonb else interrupts end,
               state_updated_at = now(), updated_at = now()
          from ended, (select case when $4::jsonb is not null then 'error' else coalesce($9, 'idle') end as status) rest
         where t.thread_id = ended.thread_id and not temporary)
      select exists (select from ended) as ended, exists (select from promoted) as promoted,
             (select cancel_action from runs where run_id = $1 and epoch = $2 and status = 'running') as cancel_action`,
    values: [
      run.run_id,
      run.epoch,
      status,
      error ? storedJson(encryption, error, errorPlace(run)) : null,
      isRolledBack,
      log.seq,
      log.events,
      storedText(encryption, JSON.stringify(outcome), logPlace(run, "outcome", log.seq)),
      thread?.status ?? null,
      thread !== undefined,
      stored?.values ?? null,
      stored?.interrupts ?? "{}",
      isAnswered,
      error ? storedJson(encryption, error, threadErrorPlace(run.thread_id)) : null,
    ],
  };
}
