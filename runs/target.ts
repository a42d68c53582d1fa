/** The thread that a run is created on, as it is at that moment. */
import type { Queryable } from "../db/pool.ts";
import { PawlError } from "../lib/errors.ts";
import type { ThreadId } from "../lib/ids.ts";
import type { Principal } from "../lib/principal.ts";
import type { Assistant } from "./assistants/resolve.ts";
import type { RunCreate } from "./run.ts";

export interface Target {
  readonly thread_id: string;
  readonly config: Record<string, unknown>;
  readonly metadata: Record<string, unknown>;
  readonly graph_id: string | null;
  readonly isBusy: boolean;
  /** Busy now: a run that is delayed leaves the thread to others until it is due. */
  readonly isUnderWay: boolean;
  /** It belongs to a stateless run, and goes with it. */
  readonly isTemporary: boolean;
}

/** A thread that comes with its run. */
export function newTarget(threadId: ThreadId, body: RunCreate, { graph_id, assistant_id }: Assistant): Target {
  const metadata = { graph_id, assistant_id, ...body.metadata };
  const rest = { config: {}, graph_id: null, isBusy: false, isUnderWay: false, isTemporary: false };
  return { thread_id: threadId, metadata, ...rest };
}

/** Undefined for a thread that there is not, or of another tenant. */
export async function readTarget(tx: Queryable, principal: Principal, threadId: string): Promise<Target | undefined> {
  const { rows } = await tx.query<Target & { readonly tenant: string }>({
    name: "read-thread-for-run",
    text: `
      select thread_id, tenant, config, metadata, graph_id,
             alive.runs > 0 as "isBusy", alive.due > 0 as "isUnderWay", alive.temporary > 0 as "isTemporary"
        from threads t
       cross join lateral (
               select count(*) as runs,
                      count(*) filter (where ready or run_after <= clock_timestamp()) as due,
                      count(*) filter (where temporary) as temporary
                 from runs r
                where r.thread_id = t.thread_id and r.status in ('pending', 'running')) alive
       where thread_id = $1`,
    values: [threadId],
  });
  // Not a condition: of a young table Postgres may believe that its tenant has one thread, and look through them all.
  return rows.find(({ tenant }) => tenant === principal.tenant);
}

/** Throws `thread_not_found`, and `thread_busy` for the thread of a stateless run. */
export function requireUsable(thread: Target | undefined): Target {
  if (!thread) throw new PawlError("thread_not_found", "Thread not found");
  if (thread.isTemporary) throw new PawlError("thread_busy", "The thread belongs to a stateless run, and goes with it");
  return thread;
}
