/** From the name by which a client calls an assistant to the assistant: its id, or a graph's id for the graph's own one. */
import type { Queryable } from "../../db/pool.ts";
import { PawlError } from "../../lib/errors.ts";
import { AssistantId, assistantIdOf } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import { Assistant, assistantColumns } from "./assistant.ts";

export type { Assistant } from "./assistant.ts";

/** Throws `assistant_not_found`. */
export async function resolveAssistant(db: Queryable, principal: Principal, idOrGraphId: string): Promise<Assistant> {
  const { rows } = await db.query({
    name: "resolve-assistant",
    text: `select ${assistantColumns} from assistants where tenant = $1 and assistant_id = $2`,
    values: [principal.tenant, assistantIdFrom(idOrGraphId)],
  });
  if (!rows[0]) throw assistantNotFound(idOrGraphId);
  return Assistant.parse(rows[0]);
}

export function assistantIdFrom(idOrGraphId: string): AssistantId {
  return AssistantId.safeParse(idOrGraphId).data ?? assistantIdOf(idOrGraphId);
}

export function assistantNotFound(idOrGraphId: string): PawlError {
  // Clients look for these words.
  return new PawlError("assistant_not_found", `No assistant found for "${idOrGraphId}"`, {
    facts: { assistant_id: idOrGraphId },
  });
}
