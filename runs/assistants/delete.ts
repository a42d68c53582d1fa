import type pg from "pg";
import { transaction } from "../../db/pool.ts";
import type { AssistantId, ThreadId } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import { deleteThread } from "../threads/delete.ts";
import { assistantNotFound } from "./resolve.ts";

/**
 * Deletes an assistant with its versions; its runs stay, as part of the history of their threads. `withThreads` deletes
 * the threads that it ran on last too. Throws `assistant_not_found`.
 */
export async function deleteAssistant(
  pool: pg.Pool,
  principal: Principal,
  { assistantId, withThreads }: { assistantId: AssistantId; withThreads: boolean },
): Promise<void> {
  const values = [principal.tenant, assistantId];
  const { rowCount } = await pool.query({
    name: "delete-assistant",
    text: "delete from assistants where tenant = $1 and assistant_id = $2",
    values,
  });
  if (rowCount === 0) throw assistantNotFound(assistantId);
  if (!withThreads) return;
  const { rows } = await pool.query<{ thread_id: ThreadId }>({
    name: "threads-of-assistant",
    text: `
      select thread_id from threads
       where tenant = $1 and metadata @> jsonb_build_object('assistant_id', $2::text)`,
    values,
  });
  for (const { thread_id } of rows) {
    await transaction(pool, (tx) => deleteThread(tx, principal, thread_id));
  }
}
