/** Writes rows of `checkpoint_items`, with what refers to them. */
import type { Owner } from "../db/fence.ts";
import type { Queryable } from "../db/pool.ts";
import { lost, Parameters } from "./statement.ts";
import type { Item } from "./stored-chunks.ts";

/**
 * A CTE, where `allowed` says whether to write. In the order of the hashes: of two statements that store some of the
 * same at once, the later one waits for the earlier, and never each for the other.
 */
export function itemsStored(parameters: Parameters, thread: string, items: readonly Item[]): string {
  const rows = items.map(({ hash, item }) => [hash, item] as const).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `items_stored as (
        insert into checkpoint_items (thread_id, hash, item)
        select ${thread}, v.* from allowed cross join ${parameters.list(["uuid", "bytea"], rows)} as v
            on conflict do nothing)`;
}

/** A statement has 65,535 parameters at most. */
const MAX_ITEMS = 2_000;

/** Writes what is too much for one statement in statements before it, and returns the rest. */
export async function putSurplus(
  db: Queryable,
  put: { owner: Owner | null; row: readonly [string, ...unknown[]]; items: readonly Item[] },
): Promise<readonly Item[]> {
  let rest = put.items;
  for (; rest.length > MAX_ITEMS; rest = rest.slice(MAX_ITEMS)) {
    const parameters = new Parameters(put.owner);
    const thread = `${parameters.add(put.row[0])}::text`;
    const { rowCount } = await db.query({
      text: `
        with ${parameters.fence},
        allowed as materialized (select from fence),
        ${itemsStored(parameters, thread, rest.slice(0, MAX_ITEMS))}
        select from fence`,
      values: parameters.values,
    });
    if (rowCount !== 1) throw lost(put.owner);
  }
  return rest;
}
