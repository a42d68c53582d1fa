/**
 * Takes runs that are the head of their thread, oldest first, and gives the worker the threads' ownership.
 *
 * A head is known by its `ready` flag, set under the thread's row lock at insert, finish and promotion. A `not exists`
 * in the claim would be wrong twice: with the head locked by anyone it takes the second, and a batch livelocks on two
 * pending runs of one thread. The new epoch fences whoever wrote for the thread before.
 *
 * Each claim notes how far the checkpoints of all threads had got: whether the run got further is then known without
 * a look at the checkpoints now.
 */
import type pg from "pg";
import { z } from "zod";
import { type Encryption, encryptionOf } from "../checkpoints/encryption.ts";
import { isPawlError, type PawlError } from "../lib/errors.ts";
import { CancelAction, Run, type RunKwargs } from "./run.ts";
import { openRun, type RunPlace } from "./sealed-columns.ts";

/** A run in the hands of a worker. */
const Claimed = Run.extend({
  tenant: z.string(),
  created_by: z.string().nullable(),
  graph_id: z.string(),
  graph_hash: z.string().nullable(),
  epoch: z.string(),
  temporary: z.boolean(),
  resumable: z.boolean(),
  cancel_action: CancelAction.nullable(),
  stalled_attempts: z.number().int(),
  /** The thread was made with the run, and has no checkpoint: nor one of LangGraph's own saver, from before it was Pawl's. */
  has_new_thread: z.boolean(),
});
export interface ClaimedRun extends z.infer<typeof Claimed> {
  /** Why its kwargs cannot be read (they are empty then). The run ends with this error. */
  readonly unreadable?: PawlError;
}

const NOTHING: RunKwargs = {
  config: { configurable: {} },
  stream_mode: [],
  stream_subgraphs: false,
  durability: "sync",
};

/** A run that cannot be read is claimed all the same: it must come to its end, and not hold up the others. */
function claimedRun(encryption: Encryption | undefined, row: ClaimedRow): ClaimedRun {
  try {
    return Claimed.parse(openRun(encryption, row));
  } catch (error) {
    if (!isPawlError(error, "checkpoint_unreadable")) throw error;
    return { ...Claimed.parse({ ...row, kwargs: NOTHING }), unreadable: error };
  }
}

type ClaimedRow = RunPlace & Record<"kwargs", unknown>;

const claimedColumns = `
  r.run_id, r.thread_id, r.assistant_id, r.status, r.metadata, r.kwargs, r.multitask_strategy, r.attempt,
  r.created_at, r.updated_at, r.tenant, r.created_by, r.graph_id, r.graph_hash, r.epoch, r.temporary, r.resumable,
  r.cancel_action, r.stalled_attempts,
  owned.epoch = 1 and exists (select from threads t where t.thread_id = r.thread_id and t.created_at = r.created_at)
    and not exists (select from checkpoints c where c.thread_id = r.thread_id::text) as has_new_thread`;

/** The highest `checkpoints.seq` that was given out so far. */
const newestSeq =
  "(select coalesce(pg_sequence_last_value(pg_get_serial_sequence('checkpoints', 'seq')::regclass), 0))";

interface ClaimOptions {
  readonly workerId: string;
  /** Only runs of these graphs: a worker claims what it has loaded. */
  readonly graphs: readonly { readonly graph_id: string; readonly hash: string }[];
  readonly limit: number;
  /** True: only runs that are to execute alone. Else only others. */
  readonly suspects?: boolean;
}

export async function claimRuns(
  pool: pg.Pool,
  { workerId, graphs, limit, suspects = false }: ClaimOptions,
): Promise<ClaimedRun[]> {
  const { rows } = await pool.query<ClaimedRow>({
    name: suspects ? "claim-suspects" : "claim-runs",
    text: `
      with head as materialized (
        select run_id, thread_id
          from runs
         where status = 'pending' and ready and run_after <= clock_timestamp() and graph_id = any($2)
           and ${suspects ? "suspect" : "not suspect"}
         order by run_after, seq
         limit $4
           for update skip locked),
      owned as (
        update thread_owner o
           set epoch = o.epoch + 1, worker_id = $1
          from head
         where o.thread_id = head.thread_id
        returning o.thread_id, o.epoch)
      update runs r
         set status = 'running', worker_id = $1, epoch = owned.epoch, attempt = r.attempt + 1,
             claimed_seq = ${newestSeq},
             graph_hash = (select hash from unnest($2::text[], $3::text[]) as g(graph_id, hash) where g.graph_id = r.graph_id),
             started_at = coalesce(r.started_at, now()), updated_at = now()
        from head join owned using (thread_id)
       where r.run_id = head.run_id
      returning ${claimedColumns}`,
    values: [workerId, graphs.map((g) => g.graph_id), graphs.map((g) => g.hash), limit],
  });
  return rows.map((row) => claimedRun(encryptionOf(pool), row));
}

/** A claimed run in the hands of a worker that is to pass it on. */
export interface HeldRun {
  readonly run_id: string;
  readonly worker_id: string;
  readonly epoch: string;
}

/**
 * Passes a claimed run on to a worker (perhaps the same one) that executes nothing else meanwhile: if that worker dies, this
 * run is the cause. Empty when the holder does not have the run any more.
 */
export async function adoptRun(pool: pg.Pool, held: HeldRun, workerId: string): Promise<ClaimedRun[]> {
  const { rows } = await pool.query<ClaimedRow>({
    name: "adopt-run",
    text: `
      with held as materialized (
        select run_id, thread_id
          from runs
         where run_id = $1 and worker_id = $2 and epoch = $3 and status = 'running'
           for update),
      owned as (
        update thread_owner o
           set epoch = o.epoch + 1, worker_id = $4
          from held
         where o.thread_id = held.thread_id and o.epoch = $3
        returning o.thread_id, o.epoch)
      update runs r
         set worker_id = $4, epoch = owned.epoch, alone_epoch = owned.epoch, claimed_seq = ${newestSeq}, updated_at = now()
        from held join owned using (thread_id)
       where r.run_id = held.run_id
      returning ${claimedColumns}`,
    values: [held.run_id, held.worker_id, held.epoch, workerId],
  });
  return rows.map((row) => claimedRun(encryptionOf(pool), row));
}
