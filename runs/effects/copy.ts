/** The effects of a copied thread. */
import type { Queryable } from "../../db/pool.ts";
import { idempotencyKey } from "./stored-effect.ts";

/**
 * Copies what a thread's effects left behind to a copy of the thread, which goes on in the same tasks: what is done is
 * done there too, and what may have been sent is unknown there, under the key that the other side was told. Expects the
 * transaction that holds the source's owner row.
 */
export async function copyEffects(tx: Queryable, from: string, to: string): Promise<void> {
  await tx.query({
    name: "copy-effects",
    text: `
      with copied as (
        insert into effects (thread_id, key, tenant, run_id, epoch, name, kind, task_id, tool_call_id, idempotency_key,
                             attempt, state, result, dispatched_at, deadline, settled_at)
        select $2::uuid, key, tenant, run_id, 0, name, kind, task_id, tool_call_id,
               ${idempotencyKey}, attempt,
               case state when 'dispatched' then 'unknown' else state end, result, dispatched_at, deadline,
               case state when 'dispatched' then clock_timestamp() else settled_at end
          from effects e
         where thread_id = $1 and state <> 'reserved'
        returning key)
      insert into effect_answers (thread_id, key, task_id, ordinal, attempt, decision, refusal, message, sealed, run_id,
                                  answered_by, answered_at)
      select $2::uuid, key, task_id, ordinal, attempt, decision, refusal, message, sealed, run_id, answered_by, answered_at
        from effect_answers join copied using (key)
       where thread_id = $1`,
    values: [from, to],
  });
}
