/** Gives runs back to the queue: those of a dead worker, or one that a worker lets go. Raising the epoch fences the old owner. */
import pg from "pg";
import { transaction } from "../db/pool.ts";
import { lockThread } from "./queue.ts";
import { ownRuns } from "./sweep.ts";

interface Owned {
  readonly run_id: string;
  readonly thread_id: string;
  readonly worker_id: string;
  readonly epoch?: string;
}

/**
 * Returns the run to the queue if that worker still has it (under `epoch`, if given). False when there was nothing to do.
 * With `patienceMs` it waits no longer for each lock, and throws what Postgres says then.
 */
export async function requeueRun(pool: pg.Pool, run: Owned, patienceMs = 0): Promise<boolean> {
  return transaction(pool, async (tx) => {
    if (patienceMs > 0) await tx.query(`set local lock_timeout = ${patienceMs}`);
    if (!(await lockThread(tx, run.thread_id))) return false;
    const { rowCount } = await tx.query({
      name: "requeue-run",
      text: `
        with back as (
          update runs
             set status = 'pending', worker_id = null, epoch = null, updated_at = now()
           where run_id = $1 and worker_id = $2 and status = 'running' and ($3::bigint is null or epoch = $3)
          returning thread_id)
        update thread_owner o set epoch = o.epoch + 1, worker_id = null from back where o.thread_id = back.thread_id`,
      values: [run.run_id, run.worker_id, run.epoch ?? null],
    });
    return rowCount === 1;
  });
}

/** Milliseconds; a session of the dead worker may hold a lock for as long as nobody has noticed its end. */
const TAKE_OVER_PATIENCE_MS = 200;

/**
 * Requeues everything a dead worker had and forgets the worker. Returns the runs that moved: those whose locks a session
 * of the dead still holds stay, and so does the worker's row, for the next sweep. They must not hold up the others.
 */
export async function requeueWorker(pool: pg.Pool, workerId: string): Promise<string[]> {
  const moved: string[] = [];
  for (const run of await ownRuns(pool, workerId)) {
    const isMoved = await requeueRun(pool, { ...run, worker_id: workerId }, TAKE_OVER_PATIENCE_MS).catch(
      ignoreHeldLock,
    );
    if (isMoved) moved.push(run.run_id);
  }
  await pool.query({
    name: "forget-worker",
    text: "delete from workers w where worker_id = $1 and not exists (select from runs r where r.worker_id = $1 and r.status = 'running')",
    values: [workerId],
  });
  return moved;
}

function ignoreHeldLock(error: unknown): false {
  if (error instanceof pg.DatabaseError && error.code === "55P03") return false;
  throw error;
}
