/**
 * Takes runs that are the head of their thread, oldest first, and gives the worker the threads' ownership.
 *
 * A head is known by its `ready` flag, set under the thread's row lock at insert, finish and promotion. A `not exists`
 * in the claim would be wrong twice: with the head locked by anyone it takes the second, and a batch livelocks on two
 * pending runs of one thread. The new epoch fences whoever wrote for the thread before.
 */
import { z } from "zod";
import type { Queryable } from "../db/pool.ts";
import { CancelAction, Run } from "./run.ts";

/** A run in the hands of a worker. */
export const ClaimedRun = Run.extend({
  tenant: z.string(),
  created_by: z.string().nullable(),
  graph_id: z.string(),
  graph_hash: z.string().nullable(),
  epoch: z.string(),
  temporary: z.boolean(),
  resumable: z.boolean(),
  cancel_action: CancelAction.nullable(),
});
export type ClaimedRun = z.infer<typeof ClaimedRun>;

export interface ClaimOptions {
  readonly workerId: string;
  /** Only runs of these graphs: a worker claims what it has loaded. */
  readonly graphs: readonly { readonly graph_id: string; readonly hash: string }[];
  readonly limit: number;
}

export async function claimRuns(db: Queryable, { workerId, graphs, limit }: ClaimOptions): Promise<ClaimedRun[]> {
  const { rows } = await db.query({
    name: "claim-runs",
    text: `
      with head as materialized (
        select run_id, thread_id
          from runs
         where status = 'pending' and ready and run_after <= clock_timestamp() and graph_id = any($2)
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
             graph_hash = (select hash from unnest($2::text[], $3::text[]) as g(graph_id, hash) where g.graph_id = r.graph_id),
             started_at = coalesce(r.started_at, now()), updated_at = now()
        from head join owned using (thread_id)
       where r.run_id = head.run_id
      returning r.run_id, r.thread_id, r.assistant_id, r.status, r.metadata, r.kwargs, r.multitask_strategy, r.attempt,
                r.created_at, r.updated_at, r.tenant, r.created_by, r.graph_id, r.graph_hash, r.epoch, r.temporary, r.resumable,
                r.cancel_action`,
    values: [workerId, graphs.map((g) => g.graph_id), graphs.map((g) => g.hash), limit],
  });
  return rows.map((row) => ClaimedRun.parse(row));
}
