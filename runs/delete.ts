/** Deletes a finished run with the checkpoints it stored. */
import type pg from "pg";
import { deleteRunCheckpoints } from "../checkpoints/thread-data.ts";
import { transaction } from "../db/pool.ts";
import type { Principal } from "../lib/principal.ts";
import type { RunRef } from "./index.ts";
import { lockThread } from "./queue.ts";

/** A run that is gone already, or alive again on behalf of nobody, is left alone. */
export async function deleteRun(pool: pg.Pool, principal: Principal, { runId }: RunRef): Promise<void> {
  await transaction(pool, async (tx) => {
    const { rows } = await tx.query<{ thread_id: string }>({
      name: "thread-of-run",
      text: "select thread_id from runs where run_id = $1 and tenant = $2",
      values: [runId, principal.tenant],
    });
    const threadId = rows[0]?.thread_id;
    if (threadId === undefined || !(await lockThread(tx, threadId))) return;
    const { rowCount } = await tx.query({
      name: "delete-run",
      text: "delete from runs where run_id = $1 and status not in ('pending', 'running')",
      values: [runId],
    });
    if (rowCount !== 1) return;
    // Whoever writes for the thread now has an epoch of its own; a state edit under way must not go on from what goes.
    await deleteRunCheckpoints(tx, threadId, runId);
  });
}
