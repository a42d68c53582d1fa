/** Reading runs. */
import type pg from "pg";
import { encryptionOf } from "../checkpoints/encryption.ts";
import type { Queryable } from "../db/pool.ts";
import { PawlError } from "../lib/errors.ts";
import type { Principal } from "../lib/principal.ts";
import type { RunPage, RunRef } from "./index.ts";
import { ListedRun, Run, runColumns } from "./run.ts";
import { openListedRun, openRun } from "./sealed-columns.ts";
import { requireThread } from "./threads/get.ts";
import { openThread } from "./threads/sealed-state.ts";

/** Throws `run_not_found`, `checkpoint_unreadable`. */
export async function getRun(pool: pg.Pool, principal: Principal, { threadId, runId }: RunRef): Promise<Run> {
  const { rows } = await pool.query({
    name: "get-run",
    text: `select ${runColumns} from runs where run_id = $1 and tenant = $2 and ($3::uuid is null or thread_id = $3)`,
    values: [runId, principal.tenant, threadId ?? null],
  });
  if (!rows[0]) throw runNotFound();
  return Run.parse(openRun(encryptionOf(pool), rows[0]));
}

interface ListOptions extends RunPage {
  readonly principal: Principal;
  readonly threadId: string;
}

/** Newest first. Throws `thread_not_found`. */
export async function listRuns(
  pool: pg.Pool,
  { principal, threadId, limit, offset, status }: ListOptions,
): Promise<ListedRun[]> {
  const { rows } = await pool.query({
    name: "list-runs",
    text: `
      select ${runColumns}
        from runs
       where tenant = $1 and thread_id = $2 and ($3::text is null or status = $3)
       order by seq desc
       limit $4 offset $5`,
    values: [principal.tenant, threadId, status ?? null, limit, offset],
  });
  if (rows.length === 0) await requireThread(pool, principal, threadId);
  return rows.map((row) => ListedRun.parse(openListedRun(encryptionOf(pool), row)));
}

/** Where the events of a run are. */
interface RunPlace {
  readonly thread_id: string;
  readonly resumable: boolean;
  /** The newest event in the log; -1n for none. */
  readonly last_seq: bigint;
}

/** Also finds a run whose row is gone while its log is still there. Throws `run_not_found`. */
export async function findRun(db: Queryable, principal: Principal, { threadId, runId }: RunRef): Promise<RunPlace> {
  const { rows } = await db.query<{ thread_id: string | null; resumable: boolean | null; last_seq: string | null }>({
    name: "find-run",
    text: `
      select coalesce(r.thread_id, e.thread_id) as thread_id, r.resumable, e.last_seq
        from (values ($1::uuid)) as wanted(run_id)
        left join runs r on r.run_id = wanted.run_id and r.tenant = $2
        left join lateral (select thread_id, last_seq from thread_events e
                            where e.run_id = wanted.run_id and e.tenant = $2
                            order by last_seq desc limit 1) e on true
       where $3::uuid is null or coalesce(r.thread_id, e.thread_id) = $3`,
    values: [runId, principal.tenant, threadId ?? null],
  });
  const [row] = rows;
  if (!row?.thread_id) throw runNotFound();
  return { thread_id: row.thread_id, resumable: row.resumable ?? false, last_seq: BigInt(row.last_seq ?? -1) };
}

/** The values of a thread as its row has them, with the questions it waits for; null when there is no such thread. Throws `checkpoint_unreadable`. */
export async function readValues(pool: pg.Pool, threadId: string): Promise<unknown> {
  const { rows } = await pool.query<{ values: unknown; interrupts: Record<string, unknown[]> }>({
    name: "read-thread-values",
    text: `select "values", interrupts from threads where thread_id = $1`,
    values: [threadId],
  });
  if (!rows[0]) return null;
  const { values, interrupts } = openThread(encryptionOf(pool), { ...rows[0], thread_id: threadId });
  return withInterrupts(values, interrupts);
}

/** Values as a waiting client gets them: with the questions that the thread waits for, as LangGraph's server adds them. */
export function withInterrupts(values: unknown, interrupts: Record<string, unknown[]>): unknown {
  const pending = Object.values(interrupts).flat();
  return pending.length > 0 ? { ...(values as Record<string, unknown> | null), __interrupt__: pending } : values;
}

function runNotFound(): PawlError {
  return new PawlError("run_not_found", "Run not found");
}
