/**
 * Which history of which database this is. A restore from a backup or an asynchronous fail-over rewinds a database:
 * epochs that were given out are given out again, and every fence built on them is void. The identifier changes with a
 * new cluster, the timeline with each recovery to a point in time and each promotion, so a process that finds either
 * changed must stop.
 */
import type { Queryable } from "./pool.ts";

export interface DatabaseIdentity {
  /** 64 bits, unsigned, as decimal text. */
  readonly systemIdentifier: string;
  readonly timelineId: number;
}

/** Of the database that `db` is connected to now. */
export async function readDatabaseIdentity(db: Queryable): Promise<DatabaseIdentity> {
  const { rows } = await db.query<DatabaseIdentity>({
    name: "read-database-identity",
    text: `
      select s.system_identifier::text as "systemIdentifier", c.timeline_id as "timelineId"
        from pg_control_system() s, pg_control_checkpoint() c`,
  });
  return rows[0]!;
}
