/** One page of a search: a JSON array, with what is beyond it in two headers. */
import type { Context } from "hono";

/** `X-Pagination-Next` is the offset of the next page, and absent on the last one. */
export function paged(
  c: Context,
  { offset }: { readonly offset: number },
  { page, total }: { readonly page: readonly unknown[]; readonly total: number },
): Response {
  const end = offset + page.length;
  return c.json(page, 200, {
    "x-pagination-total": String(total),
    ...(end < total && page.length > 0 && { "x-pagination-next": String(end) }),
  });
}
