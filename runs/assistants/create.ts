/** New assistants, always together with their first version. */
import type { Queryable } from "../../db/pool.ts";
import { PawlError } from "../../lib/errors.ts";
import { AssistantId, assistantIdOf, uuidv7 } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import type { Graphs } from "../index.ts";
import { Assistant, assistantColumns, type AssistantCreate, versionColumns } from "./assistant.ts";
import { resolveAssistant } from "./resolve.ts";

/** Throws `already_exists` unless `if_exists` is `do_nothing`, which returns the one that is there. */
export async function createAssistant(db: Queryable, principal: Principal, body: AssistantCreate): Promise<Assistant> {
  const assistantId = body.assistant_id ?? AssistantId.parse(uuidv7());
  const { rows } = await db.query({
    name: "create-assistant",
    text: `
      with created as (
        insert into assistants (assistant_id, tenant, created_by, graph_id, name, description, config, context, metadata)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        on conflict (tenant, assistant_id) do nothing
        returning *),
      versioned as (
        insert into assistant_versions (tenant, created_by, ${versionColumns})
        select tenant, created_by, ${versionColumns} from created)
      select ${assistantColumns} from created`,
    values: [
      assistantId,
      principal.tenant,
      principal.identity,
      body.graph_id,
      body.name ?? "Untitled",
      body.description ?? null,
      body.config ?? {},
      body.context ?? {},
      body.metadata ?? {},
    ],
  });
  if (rows[0]) return Assistant.parse(rows[0]);
  if (body.if_exists === "do_nothing") return resolveAssistant(db, principal, assistantId);
  throw new PawlError("already_exists", `Assistant ${assistantId} already exists`, {
    facts: { assistant_id: assistantId },
  });
}

/** Gives each graph its own assistant, which is called by the graph's name. One that is there stays as it is. */
export async function createSystemAssistants(db: Queryable, principal: Principal, graphs: Graphs): Promise<void> {
  for (const { graph_id, description } of graphs.values()) {
    await createAssistant(db, principal, {
      assistant_id: assistantIdOf(graph_id),
      graph_id,
      name: graph_id,
      description: description ?? null,
      metadata: { created_by: "system" },
      if_exists: "do_nothing",
    });
  }
}
