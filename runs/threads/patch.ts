/** Changes a thread's metadata, and how long it stays. */
import type pg from "pg";
import { z } from "zod";
import { encryptionOf } from "../../checkpoints/encryption.ts";
import type { ThreadId } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import { threadNotFound } from "./get.ts";
import { openListedThread } from "./sealed-state.ts";
import { ThreadTtl } from "./ttl.ts";
import { Json, ListedThread, threadColumns } from "./thread.ts";

/** Unknown keys are ignored. */
export const ThreadPatch = z.object({
  metadata: Json.nullish(),
  /** Null: the thread stays from now on. */
  ttl: ThreadTtl.nullish(),
});
export type ThreadPatch = z.infer<typeof ThreadPatch>;

/**
 * Merges the top-level keys of `metadata` into the thread's own. Returns the thread as a list shows it, since nothing that
 * is sealed has changed. Throws `thread_not_found`.
 */
export async function patchThread(
  pool: pg.Pool,
  principal: Principal,
  { threadId, metadata, ttl }: ThreadPatch & { threadId: ThreadId },
): Promise<ListedThread> {
  const { rows } = await pool.query({
    name: "patch-thread",
    text: `
      update threads
         set metadata = metadata || $3::jsonb,
             graph_id = coalesce(graph_id, $3::jsonb ->> 'graph_id'),
             ttl_minutes = case when $4 then $5 else ttl_minutes end,
             ttl_strategy = case when $4 then $6 else ttl_strategy end,
             updated_at = now()
       where tenant = $1 and thread_id = $2
      returning ${threadColumns}`,
    values: [principal.tenant, threadId, metadata ?? {}, ttl !== undefined, ttl?.ttl ?? null, ttl?.strategy ?? null],
  });
  if (!rows[0]) throw threadNotFound(threadId);
  return ListedThread.parse(openListedThread(encryptionOf(pool), rows[0]));
}
