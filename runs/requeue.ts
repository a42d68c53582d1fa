/**
 * Gives runs back to the queue: one that a worker lets go, or all of a worker that died. Raising the epoch fences the
 * old owner.
 *
 * A death counts against a run only if no step of it was stored since the claim, and it executed alone. In company
 * nobody can tell whose fault it was: the runs that had got no further are suspects then, and execute alone from now on.
 */
import pg from "pg";
import { transaction } from "../db/pool.ts";
import { lockThread } from "./queue.ts";
import { ownRuns } from "./sweep.ts";

interface Owned {
  readonly run_id: string;
  readonly thread_id: string;
  readonly worker_id: string;
}

/**
 * Whether run `r` has stored a step since its claim: a checkpoint of the loop, in any namespace, or the input, which is
 * stored once. A fork may be stored anew by each attempt. Of a run claimed by a release that notes no `claimed_seq`
 * nothing is known, and it is not blamed.
 */
const advanced = `
  (r.claimed_seq is null
   or exists (select from checkpoints c
               where c.thread_id = r.thread_id::text and c.seq > r.claimed_seq
                 and (c.metadata ->> 'source' = 'loop'
                      or (c.metadata ->> 'source' = 'input' and c.checkpoint_ns = ''))))`;

/** Returns the run to the queue if that worker still has it (under `epoch`, if given). False when there was nothing to do. */
export async function requeueRun(pool: pg.Pool, run: Owned & { readonly epoch?: string }): Promise<boolean> {
  return transaction(pool, async (tx) => {
    if (!(await lockThread(tx, run.thread_id))) return false;
    const { rowCount } = await tx.query({
      name: "requeue-run",
      text: `
        with back as (
          update runs r
             set status = 'pending', worker_id = null, epoch = null, updated_at = now(),
                 stalled_attempts = case when stalled_attempts > 0 and ${advanced} then 0 else stalled_attempts end
           where run_id = $1 and worker_id = $2 and status = 'running' and ($3::bigint is null or epoch = $3)
          returning thread_id)
        update thread_owner o set epoch = o.epoch + 1, worker_id = null from back where o.thread_id = back.thread_id`,
      values: [run.run_id, run.worker_id, run.epoch ?? null],
    });
    return rowCount === 1;
  });
}

/** A run that a dead worker had. */
interface Orphan {
  readonly run_id: string;
  readonly suspect: boolean;
  readonly stalled_attempts: number;
}

/** Milliseconds; a session of the dead worker may hold a lock for as long as nobody has noticed its end. */
const TAKE_OVER_PATIENCE_MS = 200;
/** Each is a commit that waits for the disk; they share one, and leave the other connections to the runs that execute. */
const TAKEN_OVER_AT_ONCE = 4;

/**
 * Requeues everything a dead worker had and forgets the worker. Returns the runs that moved: those whose locks a session
 * of the dead still holds stay, and so does the worker's row, for the next sweep. They must not hold up the others.
 */
export async function requeueWorker(pool: pg.Pool, workerId: string): Promise<Orphan[]> {
  const moved: Orphan[] = [];
  const requeue = (run: Omit<Owned, "worker_id">) =>
    requeueOrphan(pool, { ...run, worker_id: workerId }).catch(ignoreHeldLock);
  const runs = await ownRuns(pool, workerId);
  for (let next = 0; next < runs.length; next += TAKEN_OVER_AT_ONCE) {
    const taken = await Promise.all(runs.slice(next, next + TAKEN_OVER_AT_ONCE).map(requeue));
    moved.push(...taken.flat());
  }
  await pool.query({
    name: "forget-worker",
    text: "delete from workers w where worker_id = $1 and not exists (select from runs r where r.worker_id = $1 and r.status = 'running')",
    values: [workerId],
  });
  return moved;
}

function ignoreHeldLock(error: unknown): [] {
  if (error instanceof pg.DatabaseError && error.code === "55P03") return [];
  throw error;
}

async function requeueOrphan(pool: pg.Pool, run: Owned): Promise<Orphan[]> {
  return transaction(pool, async (tx) => {
    await tx.query(`set local lock_timeout = ${TAKE_OVER_PATIENCE_MS}`);
    if (!(await lockThread(tx, run.thread_id))) return [];
    const { rows } = await tx.query<Orphan>({
      name: "requeue-orphan",
      text: `
        with progress as materialized (
          select r.run_id, coalesce(r.alone_epoch = r.epoch, false) as alone, ${advanced} as advanced
            from runs r
           where run_id = $1 and worker_id = $2 and status = 'running'
             for update),
        back as (
          update runs r
             set status = 'pending', worker_id = null, epoch = null, updated_at = now(),
                 suspect = alone or not advanced,
                 stalled_attempts = case when advanced then 0 when alone then stalled_attempts + 1 else stalled_attempts end
            from progress
           where r.run_id = progress.run_id
          returning r.thread_id, r.run_id, r.suspect, r.stalled_attempts),
        fenced as (
          update thread_owner o set epoch = o.epoch + 1, worker_id = null from back where o.thread_id = back.thread_id)
        select run_id, suspect, stalled_attempts from back`,
      values: [run.run_id, run.worker_id],
    });
    return rows;
  });
}
