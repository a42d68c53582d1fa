/** What the ledger of a thread has. */
import type { ThreadId } from "../../lib/ids.ts";
import type { RunsHost } from "../support/runs.ts";

export async function rowsOf({ db }: RunsHost, threadId: ThreadId): Promise<Record<string, unknown>[]> {
  const { rows } = await db.pool.query("select * from effects where thread_id = $1 order by key", [threadId]);
  return rows;
}

export async function answersOf({ db }: RunsHost, threadId: ThreadId): Promise<Record<string, unknown>[]> {
  const { rows } = await db.pool.query("select * from effect_answers where thread_id = $1 order by answered_at", [
    threadId,
  ]);
  return rows;
}
