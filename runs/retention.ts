/** Forgets what nobody may ask for any more: the logs of finished runs, idempotency keys, threads whose time is over. */
import type pg from "pg";
import { asError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { Queryable } from "../db/pool.ts";
import { expireThreads } from "./threads/expire.ts";

interface RetentionOptions {
  readonly pool: pg.Pool;
  /** Seconds that the log of a finished run stays. */
  readonly eventTtlSeconds: number;
  /** Minutes between two looks for threads whose time is over. */
  readonly threadSweepMinutes: number;
  readonly log: Log;
}

const PERIOD_MS = 30_000;
/** How much longer the log of a run with `stream_resumable` stays. */
const RESUMABLE_FACTOR = 10;
const IDEMPOTENCY_HOURS = 24;
/** For how long a process may be stopped that executes a run of a thread which was deleted, and is made again under its id. */
const GONE_THREAD_DAYS = 7;
const BATCH = 5_000;

export function startRetention(options: RetentionOptions): { close(): Promise<void> } {
  const { pool, log, eventTtlSeconds, threadSweepMinutes } = options;
  const sweeps = [
    every(PERIOD_MS, log, () => expire(pool, eventTtlSeconds)),
    every(threadSweepMinutes * 60_000, log, async () => {
      const ended = await expireThreads(pool, log);
      if (ended > 0) log.info({ threads: ended }, "ended threads whose time was over");
    }),
  ];
  return {
    async close() {
      await Promise.all(sweeps.map((sweep) => sweep.close()));
    },
  };
}

/** One round at a time; `close` waits for the one under way. */
function every(ms: number, log: Log, work: () => Promise<void>): { close(): Promise<void> } {
  let running: Promise<void> | undefined;
  const timer = setInterval(() => {
    running ??= work()
      .catch((thrown: unknown) => log.warn({ error: asError(thrown) }, "retention failed, trying again later"))
      .finally(() => {
        running = undefined;
      });
  }, ms);
  return {
    async close() {
      clearInterval(timer);
      await running;
    },
  };
}

/** One round. The log of a live run is never touched. */
export async function expire(db: Queryable, eventTtlSeconds: number): Promise<void> {
  let deleted: number | null;
  do {
    ({ rowCount: deleted } = await db.query({
      name: "expire-events",
      text: `
        delete from thread_events
         where (thread_id, last_seq) in (
           select e.thread_id, e.last_seq
             from thread_events e
             left join runs r using (run_id)
            where e.created_at < now() - make_interval(secs => $1)
              and (r.run_id is null
                   or r.ended_at < now() - make_interval(secs => $1 * case when r.resumable then ${RESUMABLE_FACTOR} else 1 end))
            limit ${BATCH})`,
      values: [eventTtlSeconds],
    }));
  } while (deleted === BATCH);
  await db.query({
    name: "expire-idempotency-keys",
    text: `
      update runs set idempotency_key = null
       where idempotency_key is not null and created_at < now() - make_interval(hours => ${IDEMPOTENCY_HOURS})`,
  });
  await db.query({
    name: "expire-gone-threads",
    text: `
      delete from gone_threads g
       where gone_at < now() - make_interval(days => ${GONE_THREAD_DAYS})
         and not exists (select from thread_events e where e.thread_id = g.thread_id)`,
  });
  await db.query({
    name: "expire-spent-keys",
    text: `delete from spent_keys where created_at < now() - make_interval(hours => ${IDEMPOTENCY_HOURS})`,
  });
}
