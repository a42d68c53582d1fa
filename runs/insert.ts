/** The statement that writes an accepted run down, with its thread where that is new, and sets the thread busy. */
import type { Encryption } from "../checkpoints/encryption.ts";
import { storedJson } from "../checkpoints/sealed-text.ts";
import type { Transaction } from "../db/pool.ts";
import { Run, runColumns } from "./run.ts";
import { kwargsPlace, openRun, type RunPlace, storedDigest } from "./sealed-columns.ts";
import type { ThreadTtl } from "./threads/ttl.ts";

interface NewRun {
  readonly run_id: string;
  readonly tenant: string;
  readonly created_by: string | null;
  readonly thread_id: string;
  readonly assistant_id: string;
  readonly graph_id: string;
  readonly multitask_strategy: string;
  readonly temporary: boolean;
  readonly resumable: boolean;
  readonly metadata: Record<string, unknown>;
  readonly kwargs: Run["kwargs"];
  readonly idempotency_key: string | null;
  readonly request_digest: Uint8Array | null;
  readonly after_seconds: number;
  /** What the thread is to keep of the run's configuration; null leaves it as it is. */
  readonly thread_config: Record<string, unknown> | null;
  /** The thread is made with the run, and busy from the first; absent for one whose row is locked. */
  readonly new_thread?: { readonly metadata: Record<string, unknown>; readonly ttl: ThreadTtl | undefined };
}

/** For a thread whose row is locked. */
const existingThread = `
           occupied as (
             update threads
                set status = 'busy', graph_id = $6, config = coalesce($15, config), updated_at = now(),
                    metadata = metadata || jsonb_build_object('graph_id', $6::text, 'assistant_id', $5::uuid)
              where thread_id = $4)`;

/** For a thread that is made with its run. */
const newThread = `
           made as (
             insert into threads (thread_id, tenant, created_by, status, graph_id, config, metadata, ttl_minutes, ttl_strategy)
             values ($4, $2, $3, 'busy', $6, $15,
                     $16::jsonb || jsonb_build_object('graph_id', $6::text, 'assistant_id', $5::uuid), $17, $18)
             returning thread_id),
           owned as (insert into thread_owner (thread_id) select thread_id from made)`;

/** Inserts the run, and its thread if that is new, sets the thread busy, and commits. */
export async function insertRun(tx: Transaction, encryption: Encryption | undefined, run: NewRun): Promise<Run> {
  const { new_thread: thread } = run;
  const { rows } = await tx.commitWith<RunPlace & Record<"kwargs", unknown>>({
    name: thread ? "insert-run-and-thread" : "insert-run",
    text: `
      with due as (select clock_timestamp() + make_interval(secs => $14) as run_after),${thread ? newThread : existingThread}
      insert into runs (run_id, tenant, created_by, thread_id, assistant_id, graph_id, multitask_strategy, temporary,
                        resumable, metadata, kwargs, idempotency_key, request_digest, run_after, ready)
      select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, due.run_after,
             $14 = 0 and not exists (select from runs head where head.thread_id = $4 and head.ready)
        from due${thread ? " cross join made" : ""} -- the thread comes first, so that of two who make one the later hears of it
      returning ${runColumns}`,
    values: [
      run.run_id,
      run.tenant,
      run.created_by,
      run.thread_id,
      run.assistant_id,
      run.graph_id,
      run.multitask_strategy,
      run.temporary,
      run.resumable,
      run.metadata,
      storedJson(encryption, run.kwargs, kwargsPlace(run)),
      run.idempotency_key,
      run.request_digest && storedDigest(encryption, run.request_digest),
      run.after_seconds,
      run.thread_config,
      ...(thread ? [thread.metadata, thread.ttl?.ttl ?? null, thread.ttl?.strategy ?? null] : []),
    ],
  });
  return Run.parse(openRun(encryption, rows[0]!));
}
