/** Deletes an assistant. */
import type { Queryable } from "../../db/pool.ts";
import { type AssistantId, ThreadId } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import { assistantNotFound } from "./resolve.ts";

/** With all its versions. Its runs stay, as part of the history of their threads. Throws `assistant_not_found`. */
export async function deleteAssistant(db: Queryable, { tenant }: Principal, assistantId: AssistantId): Promise<void> {
  const { rowCount } = await db.query({
    name: "delete-assistant",
    text: "delete from assistants where tenant = $1 and assistant_id = $2",
    values: [tenant, assistantId],
  });
  if (rowCount === 0) throw assistantNotFound(assistantId);
}

/** The threads on which the assistant was the last to run. */
export async function threadsOfAssistant(
  db: Queryable,
  { tenant }: Principal,
  assistantId: AssistantId,
): Promise<ThreadId[]> {
  const { rows } = await db.query({
    name: "threads-of-assistant",
    text: "select thread_id from threads where tenant = $1 and metadata @> $2",
    values: [tenant, { assistant_id: assistantId }],
  });
  return rows.map((row) => ThreadId.parse(row.thread_id));
}
