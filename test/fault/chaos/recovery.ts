/** How long a run stands still after its process was taken away: seen in the database, from outside. */
import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import { untilReachable } from "../../../db/connection-error.ts";
import { LOCK_BASE } from "../../../runs/membership/messages.ts";

/** What shows the death: the worker's lock, for which another worker waits, or only that its lease ran out. */
export type ShownBy = "lock" | "lease";

export interface Recovery {
  readonly shownBy: ShownBy;
  readonly runId: string;
  readonly ms: number;
}

/** The runs that a process executes, before it is taken away. */
export interface Bereaved {
  readonly runs: readonly { readonly run_id: string; readonly attempt: number }[];
  /** Whether another worker waits for its lock. */
  readonly isWatched: boolean;
}

/** Just after a restart a connection of the pool may be one of before. */
export function lookAt(db: pg.Pool, pid: number): Promise<Bereaved> {
  return untilReachable(() => lookOnce(db, pid), AbortSignal.timeout(PATIENCE_MS));
}

async function lookOnce(db: pg.Pool, pid: number): Promise<Bereaved> {
  const { rows: runs } = await db.query<{ run_id: string; attempt: number }>(
    `select r.run_id, r.attempt
       from runs r join workers w using (worker_id)
      where w.pid = $1 and r.status = 'running'`,
    [pid],
  );
  const { rows: waiting } = await db.query(
    `select from pg_locks l join workers w on (l.classid::bigint << 32 | l.objid::bigint) = $2::bigint + w.lock_key
      where l.locktype = 'advisory' and not l.granted and w.pid = $1`,
    [pid, String(LOCK_BASE)],
  );
  return { runs, isWatched: waiting.length > 0 };
}

const LOOK_MS = 15;
/** After that it counts as lost, and the last check says so. */
const PATIENCE_MS = 30_000;

/** From `since` (`performance.now()`) to the next attempt or the end of each run. */
export async function awaitRecovery(
  db: pg.Pool,
  { runs }: Bereaved,
  { since, shownBy }: { since: number; shownBy: ShownBy },
): Promise<Recovery[]> {
  const recovered: Recovery[] = [];
  let open = [...runs];
  while (open.length > 0 && performance.now() - since < PATIENCE_MS) {
    await delay(LOOK_MS);
    const { rows } = await db
      .query<{ run_id: string; attempt: number; status: string }>(
        "select run_id, attempt, status from runs where run_id = any($1)",
        [open.map(({ run_id }) => run_id)],
      )
      .catch(() => ({ rows: undefined }));
    if (!rows) continue;
    const now = new Map(rows.map((row) => [row.run_id, row]));
    const ms = performance.now() - since;
    open = open.filter(({ run_id, attempt }) => {
      const row = now.get(run_id);
      if (row && row.attempt === attempt && ["pending", "running"].includes(row.status)) return true;
      recovered.push({ shownBy, runId: run_id, ms });
      return false;
    });
  }
  return [...recovered, ...open.map(({ run_id }) => ({ shownBy, runId: run_id, ms: Infinity }))];
}

/** Who waits for whom in the database, in words: for a recovery that takes too long. */
export async function whoWaits(db: pg.Pool): Promise<string[]> {
  const { rows } = await db.query<{ waiting: string }>(
    `select format('%s waits in "%s" for %s, %s, last in "%s"', w.application_name, left(w.query, 120),
                   b.application_name, b.state, left(b.query, 120)) as waiting
       from pg_stat_activity w, unnest(pg_blocking_pids(w.pid)) as blocker(pid) join pg_stat_activity b using (pid)
      where w.application_name <> 'pawl ring watch'`,
  );
  return rows.map(({ waiting }) => waiting.replaceAll(/\s+/g, " "));
}
