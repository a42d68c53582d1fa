/** Assistants by what they say about themselves. Metadata is matched by containment, names by part and in any case. */
import { z } from "zod";
import type { Queryable } from "../../db/pool.ts";
import type { Principal } from "../../lib/principal.ts";
import { Assistant, assistantFields } from "./assistant.ts";

export const AssistantFilter = z.object({
  metadata: z.record(z.string(), z.unknown()).nullish(),
  graph_id: z.string().nullish(),
  name: z.string().nullish(),
});
export type AssistantFilter = z.infer<typeof AssistantFilter>;

/** Unknown keys are ignored, and so are unknown fields in `select`: newer clients may know more. */
export const AssistantSearch = AssistantFilter.extend({
  limit: z.number().int().min(1).max(1_000).default(10),
  offset: z.number().int().min(0).default(0),
  sort_by: z
    .enum(["assistant_id", "graph_id", "name", "created_at", "updated_at"])
    .nullish()
    .transform((by) => by ?? "created_at"),
  sort_order: z
    .enum(["asc", "desc"])
    .nullish()
    .transform((order) => order ?? "desc"),
  select: z.array(z.string()).nullish(),
});
export type AssistantSearch = z.infer<typeof AssistantSearch>;

const Selected = Assistant.partial();

/** Matches before `limit` and `offset`; those of `page` have the selected fields only. */
export interface AssistantPage {
  readonly page: z.infer<typeof Selected>[];
  readonly total: number;
}

const matches = `
  tenant = $1
  and ($2::jsonb is null or metadata @> $2)
  and ($3::text is null or graph_id = $3)
  and ($4::text is null or position(lower($4) in lower(name)) > 0)`;

export async function searchAssistants(
  db: Queryable,
  principal: Principal,
  search: AssistantSearch,
): Promise<AssistantPage> {
  const { limit, offset, sort_by, sort_order, select } = search;
  const selected = assistantFields.filter((field) => !select || select.includes(field));
  const fields = selected.length > 0 ? selected : (["assistant_id"] as const);
  const { rows } = await db.query({
    // Unnamed: the text differs with the order and the fields. Both come from our own lists, never from the request.
    text: `
      select ${fields.join(", ")}
        from assistants
       where ${matches}
       order by ${sort_by} ${sort_order}, assistant_id
       limit $5 offset $6`,
    values: [...filterValues(principal, search), limit, offset],
  });
  return {
    page: rows.map((row) => Selected.parse(row)),
    total: await countAssistants(db, principal, search),
  };
}

export async function countAssistants(db: Queryable, principal: Principal, filter: AssistantFilter): Promise<number> {
  const { rows } = await db.query<{ total: string }>({
    name: "count-assistants",
    text: `select count(*) as total from assistants where ${matches}`,
    values: filterValues(principal, filter),
  });
  return Number(rows[0]?.total);
}

function filterValues({ tenant }: Principal, { metadata, graph_id, name }: AssistantFilter): unknown[] {
  return [tenant, metadata ?? null, graph_id ?? null, name ?? null];
}
