/**
 * Which history of which database this is. A restore from a backup or an asynchronous fail-over rewinds a database:
 * epochs that were given out are given out again, and every fence built on them is void. The identifier changes with a
 * new cluster, the timeline with each recovery to a point in time and each promotion; a copy of the files or a snapshot of
 * the disk keeps both, but its log is shorter than it was.
 */
import { DatabaseError } from "pg";
import type { Queryable } from "./pool.ts";

export interface DatabaseIdentity {
  /** 64 bits, unsigned, as decimal text. */
  readonly systemIdentifier: string;
  readonly timelineId: number;
}

export interface DatabasePosition extends DatabaseIdentity {
  /** Bytes of the write-ahead log that are on disk: it never shrinks within one history. */
  readonly flushed: bigint;
}

/** Permission denied, no such function, not supported: hosted Postgres may keep these functions to itself. */
const KEPT_BACK = new Set(["42501", "42883", "0A000"]);

/**
 * Of the database that `db` is connected to now; undefined where it does not say. The timeline is that of the log that
 * is written: after a promotion the control file lags behind until the first checkpoint.
 */
export async function readDatabasePosition(db: Queryable): Promise<DatabasePosition | undefined> {
  try {
    const { rows } = await db.query<DatabaseIdentity & { flushed: string }>({
      name: "read-database-position",
      text: `
        select s.system_identifier::text as "systemIdentifier",
               ('x' || left(pg_walfile_name(lsn), 8))::bit(32)::int as "timelineId",
               pg_wal_lsn_diff(lsn, '0/0')::text as flushed
          from pg_control_system() s, pg_current_wal_flush_lsn() lsn`,
    });
    const [row] = rows;
    return row && { ...row, flushed: BigInt(row.flushed) };
  } catch (error) {
    if (error instanceof DatabaseError && KEPT_BACK.has(error.code ?? "")) return undefined;
    throw error;
  }
}
