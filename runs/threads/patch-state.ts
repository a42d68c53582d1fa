/** Adds to the metadata of a thread's newest checkpoint. */
import type pg from "pg";
import { fence } from "../../db/fence.ts";
import type { ThreadId } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import { requireThread } from "./get.ts";
import { takeIdleThread } from "./update-state.ts";

/** Keys that say what a checkpoint is and which run it belongs to: nobody may set them. */
const ownKeys = ["source", "step", "parents", "writes", "run_id", "thread_id", "graph_id", "assistant_id"];

/**
 * Merges `metadata` into that of the thread's newest checkpoint; a thread without one stays as it is. Throws
 * `thread_not_found`, `thread_busy`.
 */
export async function patchState(
  pool: pg.Pool,
  principal: Principal,
  { threadId, metadata }: { threadId: ThreadId; metadata: Record<string, unknown> },
): Promise<void> {
  await requireThread(pool, principal, threadId);
  const { epoch } = await takeIdleThread(pool, threadId);
  const patch = Object.entries(metadata).filter(([key]) => !key.startsWith("__") && !ownKeys.includes(key));
  await pool.query({
    name: "patch-newest-checkpoint",
    text: `
      with ${fence}
      update checkpoints
         set metadata = metadata || $3::jsonb
       where thread_id = $1::text and checkpoint_ns = ''
         and seq = (select seq from checkpoints
                     where thread_id = $1::text and checkpoint_ns = ''
                     order by seq desc limit 1)
         and exists (select from fence)`,
    values: [threadId, epoch, Object.fromEntries(patch)],
  });
}
