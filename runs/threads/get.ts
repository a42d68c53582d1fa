import type { Queryable } from "../../db/pool.ts";
import { PawlError } from "../../lib/errors.ts";
import type { ThreadId } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import { Thread, threadColumns } from "./thread.ts";

/** Throws `thread_not_found`, also for a thread of another tenant. */
export async function getThread(db: Queryable, principal: Principal, threadId: ThreadId): Promise<Thread> {
  const { rows } = await db.query({
    name: "get-thread",
    text: `select ${threadColumns} from threads where tenant = $1 and thread_id = $2`,
    values: [principal.tenant, threadId],
  });
  if (!rows[0]) throw threadNotFound(threadId);
  return Thread.parse(rows[0]);
}

export function threadNotFound(threadId: ThreadId): PawlError {
  return new PawlError("thread_not_found", `Thread ${threadId} not found`, { facts: { thread_id: threadId } });
}
