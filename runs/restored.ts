/**
 * Makes a restored database safe to go on with: what was given out in the lost interval must never be given out again,
 * and what was under way in the backup has an outcome that nobody knows.
 */
import type pg from "pg";
import { readDatabasePosition } from "../db/database-identity.ts";
import { type Queryable, transaction } from "../db/pool.ts";
import { PawlError } from "../lib/errors.ts";
import { LOCK_BASE } from "./membership/messages.ts";

/**
 * Far above any epoch of the lost interval. Event ids begin with the epoch, so they stay unique too, and readers who
 * reconnect with an id of the lost interval get what came after.
 */
const LIFT = 1_048_576;

interface Restored {
  readonly threads: number;
  /** Runs that were executing and are in the queue again. */
  readonly requeued: number;
  /** Effects whose outcome is unknown now. */
  readonly unknown: number;
}

/**
 * One transaction; running it twice does no harm. Comes after a restore or a fail-over, with every process stopped:
 * throws `database_in_use` while one is connected.
 */
export async function acceptRestoredDatabase(pool: pg.Pool): Promise<Restored> {
  return transaction(pool, async (tx) => {
    await refuseWhileInUse(tx);
    const threads = await changed(tx, `update thread_owner set epoch = epoch + ${LIFT}, worker_id = null`);
    await changed(tx, `update gone_threads set epoch = epoch + ${LIFT}`);
    const requeued = await changed(
      tx,
      "update runs set status = 'pending', worker_id = null, epoch = null, updated_at = now() where status = 'running'",
    );
    await changed(tx, "delete from workers");
    // A row that was only reserved in the backup may have been dispatched in the lost interval.
    const unknown = await changed(
      tx,
      `update effects set state = 'unknown', attempt = greatest(attempt, 1), dispatched_at = coalesce(dispatched_at, now()), settled_at = now(), result = null
        where state in ('reserved', 'dispatched')`,
    );
    // So that an answer of before the restore is too early: the lost interval may have sent what it asked for.
    await changed(
      tx,
      `update effects set deadline = greatest(coalesce(deadline, dispatched_at + interval '10 minutes'), now())
        where state = 'unknown'`,
    );
    // Permits of approvals are to be voided here, once there are any.
    await recordHistory(tx);
    return { threads, requeued, unknown };
  });
}

async function changed(tx: Queryable, text: string): Promise<number> {
  return (await tx.query(text)).rowCount ?? 0;
}

async function recordHistory(tx: Queryable): Promise<void> {
  const live = await readDatabasePosition(tx);
  if (!live) return;
  await tx.query(
    `insert into database_history (system_identifier, timeline_id, restores) values ($1, $2, 1)
     on conflict (only_row) do update
        set system_identifier = excluded.system_identifier, timeline_id = excluded.timeline_id,
            restores = database_history.restores + 1, recorded_at = now()`,
    [live.systemIdentifier, live.timelineId],
  );
}

/** A worker shows by its lock that it lives, every process by its connections. */
async function refuseWhileInUse(tx: Queryable): Promise<void> {
  const { rows } = await tx.query<{ who: string }>(
    `select 'worker ' || worker_id || ' on ' || host as who
       from workers where not pg_try_advisory_xact_lock($1::bigint + lock_key)
     union all
     select distinct application_name
       from pg_stat_activity
      where datname = current_database() and application_name like any ('{pawl api,pawl worker,pawl isolated,pawl signals}')`,
    [String(LOCK_BASE)],
  );
  if (rows.length === 0) return;
  throw new PawlError(
    "database_in_use",
    `Stop every process first. Connected now: ${rows.map(({ who }) => who).join(", ")}`,
  );
}
