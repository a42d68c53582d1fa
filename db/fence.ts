/**
 * Fencing: who may write on behalf of a thread. A write counts only if its statement holds the owner row FOR SHARE
 * until commit (a plain `where epoch = n`, or KEY SHARE, lets a zombie's row land after the take-over), so a take-over,
 * which updates that row, waits for writes under way and refuses later ones. No epoch of a thread is given out twice, also
 * when the thread is deleted and made again under its id (`gone_threads`).
 *
 * Lock order everywhere: threads, then runs, then thread_owner.
 */
import { PawlError } from "../lib/errors.ts";

/** The right to write for a thread, as it was claimed. */
export interface Owner {
  readonly thread_id: string;
  /** Decimal digits; a bigint in the database. */
  readonly epoch: string;
}

/** A materialised CTE named `fence`: one row while $1 (thread) is owned under $2 (epoch), none afterwards. */
export const fence = "fence as materialized (select 1 from thread_owner where thread_id = $1 and epoch = $2 for share)";

/** The same without waiting: none as well while somebody is changing who owns the thread. */
export const fenceAtOnce = fence.replace("for share", "for share skip locked");

export function leaseLost(owner: Owner): PawlError {
  return new PawlError("lease_lost", "Another worker owns this thread now", { facts: { thread_id: owner.thread_id } });
}
