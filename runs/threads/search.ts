/** Threads by what they say about themselves. Filters mean containment: `{"a": {"b": 1}}` matches what has at least that. */
import type pg from "pg";
import { z } from "zod";
import { encryptionOf } from "../../checkpoints/encryption.ts";
import { PawlError } from "../../lib/errors.ts";
import { ThreadId } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import { openListedThread } from "./sealed-state.ts";
import { columnsOf, Json, ListedThread, type Thread, threadFields, ThreadStatus } from "./thread.ts";

export const ThreadFilter = z.object({
  ids: z.array(ThreadId).nullish(),
  metadata: Json.nullish(),
  values: Json.nullish(),
  status: ThreadStatus.nullish(),
});
export type ThreadFilter = z.infer<typeof ThreadFilter>;

/** Unknown keys are ignored, and so are unknown fields in `select`: newer clients may know more. */
export const ThreadSearch = ThreadFilter.extend({
  limit: z.number().int().min(1).max(1_000).default(10),
  offset: z.number().int().min(0).default(0),
  sort_by: z
    .enum(["thread_id", "status", "created_at", "updated_at", "state_updated_at"])
    .nullish()
    .transform((by) => by ?? "updated_at"),
  sort_order: z
    .enum(["asc", "desc"])
    .nullish()
    .transform((order) => order ?? "desc"),
  select: z.array(z.string()).nullish(),
});
export type ThreadSearch = z.infer<typeof ThreadSearch>;

/** Matches before `limit` and `offset`; those of `page` have the selected fields only. */
export interface ThreadPage {
  readonly page: ListedThread[];
  readonly total: number;
}

// A parameter that is null switches its condition off; the planner sees that, since it plans these with their values.
const matches = `
  tenant = $1
  and ($2::uuid[] is null or thread_id = any($2))
  and ($3::jsonb is null or metadata @> $3)
  and ($4::jsonb is null or "values" @> $4)
  and ($5::text is null or status = $5)`;

/** Throws `unsupported` for a filter on `values` where they are encrypted. */
export async function searchThreads(pool: pg.Pool, principal: Principal, search: ThreadSearch): Promise<ThreadPage> {
  refuseSealedFilter(pool, search);
  const { limit, offset, sort_by, sort_order, select } = search;
  const selected = threadFields.filter((field) => !select || select.includes(field));
  const fields = selected.length > 0 ? selected : (["thread_id"] as const);
  const { rows } = await pool.query({
    // Unnamed: the text differs with the order and the fields. Both come from our own lists, never from the request.
    text: `
      select ${columnsOf(withWhatOpens(fields))}
        from threads
       where ${matches}
       order by ${sort_by} ${sort_order}, thread_id
       limit $6 offset $7`,
    values: [...filterValues(principal, search), limit, offset],
  });
  // Counted apart, so that the page can stop at its limit; and only if it does not show the total itself.
  const isLast = rows.length < limit && (rows.length > 0 || offset === 0);
  const total = isLast ? offset + rows.length : await countThreads(pool, principal, search);
  const page = rows.map((row) => {
    const thread = openListedThread(encryptionOf(pool), row);
    const shown = [...fields, "unreadable"].filter((field) => field in thread);
    return ListedThread.parse(Object.fromEntries(shown.map((field) => [field, thread[field]])));
  });
  return { page, total };
}

/** What is sealed is sealed to the thread, `values` together with `interrupts`. */
function withWhatOpens(fields: readonly (keyof Thread)[]): (keyof Thread)[] {
  const needed = fields.flatMap((field): (keyof Thread)[] => {
    if (field === "error") return ["thread_id"];
    return field === "values" || field === "interrupts" ? ["thread_id", "interrupts"] : [];
  });
  return [...new Set([...fields, ...needed])];
}

/** Throws `unsupported` as above. */
export async function countThreads(pool: pg.Pool, principal: Principal, filter: ThreadFilter): Promise<number> {
  refuseSealedFilter(pool, filter);
  const { rows } = await pool.query<{ total: string }>({
    name: "count-threads",
    text: `select count(*) as total from threads where ${matches}`,
    values: filterValues(principal, filter),
  });
  return Number(rows[0]?.total);
}

/** Postgres sees no values, and what is found nowhere would look as if it were not there. */
function refuseSealedFilter(pool: pg.Pool, { values }: ThreadFilter): void {
  if (!values || !encryptionOf(pool)) return;
  throw new PawlError("unsupported", "Values are encrypted here: threads are found by metadata, status and ids only");
}

function filterValues({ tenant }: Principal, { ids, metadata, values, status }: ThreadFilter): unknown[] {
  return [tenant, ids ?? null, metadata ?? null, values ?? null, status ?? null];
}
