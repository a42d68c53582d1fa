/** How long a thread stays after its last change, and what happens then. */
import { z } from "zod";
import type { Queryable } from "../../db/pool.ts";
import type { ThreadId } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import { threadNotFound } from "./get.ts";

export const TtlStrategy = z.enum(["delete", "keep_latest"]);

/** A hundred years: Postgres can add it to any date that a thread has. */
export const Minutes = z.number().positive().max(52_560_000);

/** As clients and langgraph.json say it: the minutes alone, or with what happens. */
export const ThreadTtl = z.union([
  Minutes.transform((ttl) => ({ ttl, strategy: "delete" as const })),
  z.object({ ttl: Minutes, strategy: TtlStrategy.default("delete") }),
]);
export type ThreadTtl = z.infer<typeof ThreadTtl>;

/** What `GET /threads/:id?include=ttl` adds to a thread. */
export interface ShownTtl {
  readonly strategy: ThreadTtl["strategy"];
  readonly ttl_minutes: number;
  readonly expires_at: Date;
}

/** Null for a thread without. Throws `thread_not_found`. */
export async function getTtl(db: Queryable, { tenant }: Principal, threadId: ThreadId): Promise<ShownTtl | null> {
  const { rows } = await db.query<ShownTtl>({
    name: "get-thread-ttl",
    text: `
      select ttl_strategy as strategy, ttl_minutes, updated_at + make_interval(secs => ttl_minutes * 60) as expires_at
        from threads
       where tenant = $1 and thread_id = $2`,
    values: [tenant, threadId],
  });
  if (!rows[0]) throw threadNotFound(threadId);
  return rows[0].strategy === null ? null : rows[0];
}
