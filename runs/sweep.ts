/** What a worker looks for from time to time, because nobody signals it. */
import type pg from "pg";
import { type Queryable, transaction } from "../db/pool.ts";
import { lockThread, promoteNext } from "./queue.ts";
import type { CancelAction } from "./run.ts";

/** The runs that the database says a worker has. */
export async function ownRuns(
  db: Queryable,
  workerId: string,
): Promise<{ run_id: string; thread_id: string; cancel_action: CancelAction | null }[]> {
  const { rows } = await db.query<{ run_id: string; thread_id: string; cancel_action: CancelAction | null }>({
    name: "own-runs",
    text: "select run_id, thread_id, cancel_action from runs where worker_id = $1 and status = 'running'",
    values: [workerId],
  });
  return rows;
}

/** Workers whose lease ran out by the database's clock, and those that have runs but no row. */
export async function findDeadWorkers(db: Queryable, self: string): Promise<string[]> {
  const { rows } = await db.query<{ worker_id: string }>({
    name: "find-dead-workers",
    text: `
      select worker_id from workers where lease_until < now() and worker_id <> $1
      union
      select worker_id from runs r
       where status = 'running' and worker_id <> $1 and not exists (select from workers w where w.worker_id = r.worker_id)`,
    values: [self],
  });
  return rows.map((row) => row.worker_id);
}

/** Makes delayed runs that have become due the head of threads on which nothing else goes on. True if there were any. */
export async function promoteDueRuns(pool: pg.Pool): Promise<boolean> {
  const { rows } = await pool.query<{ thread_id: string }>({
    name: "threads-with-due-runs",
    text: `
      select distinct thread_id
        from runs due
       where status = 'pending' and not ready and run_after <= clock_timestamp()
         and not exists (select from runs head where head.thread_id = due.thread_id and head.ready)
       limit 1000`,
  });
  let isAny = false;
  for (const { thread_id } of rows) {
    const promoted = await transaction(
      pool,
      async (tx) => (await lockThread(tx, thread_id)) && promoteNext(tx, thread_id),
    );
    isAny ||= promoted;
  }
  return isAny;
}
