/** Deletes a finished run with the checkpoints it stored, which later runs of the thread may build on. */
import type pg from "pg";
import { deleteRunCheckpoints } from "../checkpoints/thread-data.ts";
import { transaction } from "../db/pool.ts";
import { PawlError } from "../lib/errors.ts";
import type { Principal } from "../lib/principal.ts";
import type { RunRef } from "./index.ts";
import { lockThread } from "./queue.ts";

/** A run that is gone already is no error. Throws `thread_busy` while a run of the thread is alive. */
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
      text: `
        with idle as (
          select from threads
           where thread_id = $2
             and not exists (select from runs where thread_id = $2 and status in ('pending', 'running'))),
        owned as (update thread_owner set epoch = epoch + 1, worker_id = null from idle where thread_id = $2 returning 1)
        delete from runs using owned where run_id = $1`,
      values: [runId, threadId],
    });
    if (rowCount !== 1) throw new PawlError("thread_busy", "A run of the thread is alive, and may build on this one");
    await deleteRunCheckpoints(tx, threadId, runId);
  });
}
