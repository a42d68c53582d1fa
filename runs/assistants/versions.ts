/** An assistant's versions: each change makes a new one, and any of them can be made the latest again. */
import type pg from "pg";
import { z } from "zod";
import { type Queryable, transaction } from "../../db/pool.ts";
import type { AssistantId } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import { Assistant, assistantColumns, type AssistantPatch, AssistantVersion, versionColumns } from "./assistant.ts";
import { assistantNotFound } from "./resolve.ts";

export const VersionQuery = z.object({
  limit: z.number().int().min(1).max(1_000).default(10),
  offset: z.number().int().min(0).default(0),
  metadata: z.record(z.string(), z.unknown()).nullish(),
});
export type VersionQuery = z.infer<typeof VersionQuery>;

/** Stores the changed assistant as a new version and makes it the latest. Throws `assistant_not_found`. */
export async function patchAssistant(
  pool: pg.Pool,
  principal: Principal,
  { assistantId, patch }: { assistantId: AssistantId; patch: AssistantPatch },
): Promise<Assistant> {
  return transaction(pool, async (tx) => {
    // A statement of its own: one that waits for a lock goes on with what it saw before, and two patches would draw
    // the same number.
    await tx.query({
      name: "lock-assistant",
      text: "select from assistants where tenant = $1 and assistant_id = $2 for no key update",
      values: [principal.tenant, assistantId],
    });
    const { rows } = await tx.query({
      name: "patch-assistant",
      text: `
        update assistants a
           set graph_id = coalesce($3, graph_id), name = coalesce($4, name), description = coalesce($5, description),
               config = coalesce($6, config), context = coalesce($7, context), metadata = metadata || $8::jsonb,
               updated_at = now(),
               version = 1 + (select max(v.version)
                                from assistant_versions v
                               where v.tenant = a.tenant and v.assistant_id = a.assistant_id)
         where tenant = $1 and assistant_id = $2
        returning ${assistantColumns}`,
      values: [
        principal.tenant,
        assistantId,
        patch.graph_id ?? null,
        patch.name ?? null,
        patch.description ?? null,
        patch.config ?? null,
        patch.context ?? null,
        patch.metadata ?? {},
      ],
    });
    if (!rows[0]) throw assistantNotFound(assistantId);
    const assistant = Assistant.parse(rows[0]);
    await insertVersion(tx, principal, assistant);
    return assistant;
  });
}

/** Throws `assistant_not_found`, also when there is no such version. */
export async function setLatest(
  db: Queryable,
  principal: Principal,
  { assistantId, version }: { assistantId: AssistantId; version: number },
): Promise<Assistant> {
  const { rows } = await db.query({
    name: "set-latest-assistant",
    text: `
      update assistants a
         set graph_id = v.graph_id, name = v.name, description = v.description, config = v.config, context = v.context,
             metadata = v.metadata, version = v.version, updated_at = now()
        from assistant_versions v
       where a.tenant = $1 and a.assistant_id = $2
         and v.tenant = $1 and v.assistant_id = $2 and v.version = $3
      returning ${assistantColumns.replaceAll(/\w+/g, "a.$&")}`,
    values: [principal.tenant, assistantId, version],
  });
  if (!rows[0]) throw assistantNotFound(`${assistantId}", version "${version}`);
  return Assistant.parse(rows[0]);
}

/** Newest first. Throws `assistant_not_found`. */
export async function listVersions(
  db: Queryable,
  principal: Principal,
  { assistantId, limit, offset, metadata }: VersionQuery & { assistantId: AssistantId },
): Promise<AssistantVersion[]> {
  const { rows } = await db.query({
    name: "list-assistant-versions",
    // Left join, so that an assistant without a match still has a row and one that does not exist has none.
    text: `
      select v.*
        from assistants a
        left join lateral (
          select ${versionColumns}
            from assistant_versions
           where tenant = a.tenant and assistant_id = a.assistant_id and ($3::jsonb is null or metadata @> $3)
           order by version desc
           limit $4 offset $5) v on true
       where a.tenant = $1 and a.assistant_id = $2
       order by v.version desc`,
    values: [principal.tenant, assistantId, metadata ?? null, limit, offset],
  });
  if (rows.length === 0) throw assistantNotFound(assistantId);
  return rows.filter((row) => row.version !== null).map((row) => AssistantVersion.parse(row));
}

async function insertVersion(tx: Queryable, { tenant, identity }: Principal, assistant: Assistant): Promise<void> {
  await tx.query({
    name: "insert-assistant-version",
    text: `
      insert into assistant_versions (tenant, created_by, ${versionColumns})
      values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
    values: [
      tenant,
      identity,
      assistant.assistant_id,
      assistant.graph_id,
      assistant.name,
      assistant.description,
      assistant.config,
      assistant.context,
      assistant.metadata,
      assistant.version,
      assistant.updated_at,
    ],
  });
}
