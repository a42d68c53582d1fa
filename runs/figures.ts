/** How full the queue is and how the workers do, of all processes on this database and of all tenants. */
import type { Queryable } from "../db/pool.ts";
import { openUnknown } from "./effects/list.ts";

interface WorkerFigures {
  readonly worker_id: string;
  readonly host: string;
  readonly pid: number;
  /** Runs that it executes at once at most. */
  readonly concurrency: number;
  /** Longest delay of its main loop between its last two heartbeats. */
  readonly loop_lag_ms: number;
}

export interface Figures {
  readonly pending: number;
  readonly running: number;
  /** Of these, those that execute alone since a worker died with them. */
  readonly suspects: number;
  /** Seconds since the longest waiting run that may be claimed became due; 0 if none waits. */
  readonly longest_wait: number;
  /** Effects of unknown outcome that nobody has decided to leave alone. */
  readonly unknown_effects: number;
  /** Those whose lease is not over. */
  readonly workers: readonly WorkerFigures[];
}

export async function readFigures(db: Queryable): Promise<Figures> {
  const { rows } = await db.query<Figures>({
    name: "read-figures",
    text: `
      select count(*) filter (where status = 'pending')::int as pending,
             count(*) filter (where status = 'running')::int as running,
             count(*) filter (where suspect)::int as suspects,
             coalesce(greatest(0, extract(epoch from clock_timestamp() - min(run_after) filter (where ready and status = 'pending'))), 0)::float8
               as longest_wait,
             (select count(*)::int from ${openUnknown}) as unknown_effects,
             (select coalesce(json_agg(json_build_object('worker_id', worker_id, 'host', host, 'pid', pid, 'concurrency', concurrency,
                                                         'loop_lag_ms', loop_lag_ms)), '[]')
                from workers where lease_until > now()) as workers
        from runs
       where status in ('pending', 'running')`,
  });
  return rows[0]!;
}
