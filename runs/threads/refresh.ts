/** Brings a thread's row up to date with its newest checkpoint, after an edit that was no run. */
import type pg from "pg";
import { encryptionOf } from "../../checkpoints/encryption.ts";
import { pendingQuestions } from "../../checkpoints/questions.ts";
import { Saver } from "../../checkpoints/saver.ts";
import type { Owner } from "../../db/fence.ts";
import { transaction } from "../../db/pool.ts";
import { ThreadId } from "../../lib/ids.ts";
import { lockThread, settleThread } from "../queue.ts";
import { withSaver } from "../with-saver.ts";
import { configAt, type ThreadGraph } from "./graph.ts";
import { threadProjection } from "./projection.ts";
import { storedState } from "./sealed-state.ts";

/** Leaves the row alone when `owner` is no longer the last who wrote: the run that came after it knows better. */
export async function refreshThread(
  pool: pg.Pool,
  owner: Owner,
  { graph, configurable }: Pick<ThreadGraph, "graph" | "configurable">,
): Promise<void> {
  const saver = new Saver(pool);
  const threadId = ThreadId.parse(owner.thread_id);
  const state = await withSaver(graph, saver).getState(configAt({ threadId, configurable }, saver));
  const { status, ...shown } = threadProjection(state, await pendingQuestions(saver, { thread_id: threadId }));
  const stored = storedState(encryptionOf(pool), threadId, { ...shown, values: shown.values ?? null });
  await transaction(pool, async (tx) => {
    await lockThread(tx, threadId);
    await tx.query({
      name: "refresh-thread",
      text: `
        update threads
           set rest_status = $3, "values" = $4, interrupts = $5, error = null, state_updated_at = now()
         where thread_id = $1
           and exists (select from thread_owner where thread_id = $1 and epoch = $2)`,
      values: [threadId, owner.epoch, status, stored.values, stored.interrupts],
    });
    await settleThread(tx, threadId);
  });
}
