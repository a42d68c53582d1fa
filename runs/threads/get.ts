/** One thread, as clients see it. */
import type pg from "pg";
import { encryptionOf } from "../../checkpoints/encryption.ts";
import type { Queryable } from "../../db/pool.ts";
import { PawlError } from "../../lib/errors.ts";
import type { ThreadId } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import { openThread } from "./sealed-state.ts";
import { Thread, threadColumns } from "./thread.ts";

/** Throws `thread_not_found`, also for a thread of another tenant; `checkpoint_unreadable`. */
export async function getThread(pool: pg.Pool, principal: Principal, threadId: ThreadId): Promise<Thread> {
  const { rows } = await pool.query({
    name: "get-thread",
    text: `select ${threadColumns} from threads where tenant = $1 and thread_id = $2`,
    values: [principal.tenant, threadId],
  });
  if (!rows[0]) throw threadNotFound(threadId);
  return Thread.parse(openThread(encryptionOf(pool), rows[0]));
}

/** Throws `thread_not_found`, as above. */
export async function requireThread(db: Queryable, { tenant }: Principal, threadId: string): Promise<void> {
  const { rowCount } = await db.query({
    name: "thread-exists",
    text: "select from threads where thread_id = $1 and tenant = $2",
    values: [threadId, tenant],
  });
  if (rowCount === 0) throw threadNotFound(threadId);
}

export function threadNotFound(threadId: string): PawlError {
  return new PawlError("thread_not_found", `Thread ${threadId} not found`, { facts: { thread_id: threadId } });
}
