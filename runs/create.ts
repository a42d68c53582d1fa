/**
 * Accepts a run: one transaction inserts it, sets its thread busy and applies the multitask strategy. The thread's row
 * lock makes check and insert one step; who comes twice gets what was made the first time.
 */
import { DatabaseError } from "pg";
import { type Encryption, encryptionOf } from "../checkpoints/encryption.ts";
import { storedJson } from "../checkpoints/sealed-text.ts";
import type { ThreadCheckpoint } from "../checkpoints/read-waiting.ts";
import { openedTransaction, type Queryable, type Transaction } from "../db/pool.ts";
import { PawlError } from "../lib/errors.ts";
import { ThreadId, uuidv7 } from "../lib/ids.ts";
import type { Principal } from "../lib/principal.ts";
import { type Assistant, resolveAssistant } from "./assistants/resolve.ts";
import { cancelRuns } from "./cancel.ts";
import type { CreateOptions } from "./index.ts";
import { lockThread } from "./queue.ts";
import { findCreated, keyOf, lockKey, refuseSpentKey, type ResendContext } from "./resent.ts";
import { checkpointOf, kwargsOf, mergedConfigurable } from "./request.ts";
import { matchAnswers, type OpenQuestion } from "./resume.ts";
import { Run, type RunCreate, runColumns } from "./run.ts";
import { kwargsPlace, openRun, type RunPlace, storedDigest } from "./sealed-columns.ts";
import { goesOn, type ParkedThread, rootOf } from "./skew/find.ts";
import type { ThreadTtl } from "./threads/ttl.ts";

export interface CreateContext extends ResendContext {
  /** Of a thread that is made for the run. */
  readonly defaultTtl?: ThreadTtl | undefined;
  /**
   * The questions of the thread that wait for an answer, at its newest checkpoint or the one given. Read in the
   * transaction: with a second connection each, as many resumes at once as the pool is large would wait for each other.
   */
  readonly pendingQuestions: (tx: Queryable, at: ThreadCheckpoint) => Promise<OpenQuestion[]>;
  /** Throws `graph_changed` when the loaded graph cannot go on from where the thread stands. */
  readonly refuseChangedGraph: (tx: Queryable, thread: ParkedThread) => Promise<void>;
}

export interface Created {
  readonly run: Run;
  /** Runs of the thread that were pending and are over now. */
  readonly ended: readonly string[];
  /** Runs that execute somewhere and have to be told to stop. */
  readonly told: readonly string[];
}

interface Request {
  readonly principal: Principal;
  readonly body: RunCreate;
  readonly options: CreateOptions;
  /** For the run, unless the client has given one. */
  readonly newRunId: string;
}

interface Target {
  readonly thread_id: string;
  readonly config: Record<string, unknown>;
  readonly metadata: Record<string, unknown>;
  readonly graph_id: string | null;
  readonly isBusy: boolean;
  /** Busy now: a run that is delayed leaves the thread to others until it is due. */
  readonly isUnderWay: boolean;
  /** It belongs to a stateless run, and goes with it. */
  readonly isTemporary: boolean;
}

/** Errors: see `Runs.create`. */
export async function createRun(context: CreateContext, request: Request): Promise<Created> {
  const insert = () => createOnce(context, request);
  // Two requests for one thread that is not there yet, or with one run id under two keys: the later one finds the other's
  // thread, or its run.
  return insert().catch((error: unknown) => {
    if (!isTaken(error)) throw error;
    return insert();
  });
}

function isTaken(error: unknown): boolean {
  return (
    error instanceof DatabaseError && ["runs_idempotency", "runs_pkey", "threads_pkey"].includes(error.constraint ?? "")
  );
}

async function createOnce(context: CreateContext, request: Request): Promise<Created> {
  const { principal, body, options, newRunId } = request;
  const threadId = options.threadId ?? ThreadId.parse(uuidv7());
  const key = keyOf(request);
  const opening = (tx: Queryable) =>
    Promise.all([
      resolveAssistant(tx, principal, body.assistant_id),
      options.threadId !== undefined && lockThread(tx, threadId),
      key === undefined ? undefined : lockKey(tx, principal, key),
      findCreated(tx, request, context),
      options.threadId === undefined ? undefined : readTarget(tx, principal, threadId),
    ]);
  return openedTransaction(context.pool, opening, async (tx, [assistant, isLocked, , earlier, known]) => {
    if (earlier) return { run: earlier, ended: [], told: [] };
    if (key !== undefined) await refuseSpentKey(tx, principal, key);
    if (options.threadId !== undefined && !isLocked) refuseUnlessCreated(body);
    const thread = usable(isLocked ? known : newTarget(threadId, body, assistant));
    const strategy = body.multitask_strategy ?? "enqueue";
    const answers = await answersOf({ body, thread, assistant }, (at) => context.pendingQuestions(tx, at));
    if (strategy === "reject" && thread.isBusy) throw busy();
    const stopped =
      strategy === "interrupt" || strategy === "rollback"
        ? await cancelRuns(tx, { threadId, action: strategy })
        : { ended: [], told: [] };

    const runId = body.run_id ?? newRunId;
    const kwargs = kwargsOf({
      body,
      assistant,
      thread,
      ids: { run_id: runId, thread_id: threadId, user_id: principal.identity },
    });
    const root = rootOf(kwargs.checkpoint);
    // Of a thread that is busy nobody knows yet where it will stand: the worker looks.
    if (isLocked && root && !thread.isUnderWay && goesOn({ ...kwargs, ...(answers && { answers }) })) {
      const { graph_id } = assistant;
      const { configurable } = kwargs.config;
      await context.refuseChangedGraph(tx, { thread_id: threadId, graph_id, configurable, ...root });
    }
    const run = await insertRun(tx, encryptionOf(context.pool), {
      run_id: runId,
      tenant: principal.tenant,
      created_by: principal.identity,
      thread_id: threadId,
      assistant_id: assistant.assistant_id,
      graph_id: assistant.graph_id,
      multitask_strategy: strategy,
      temporary: options.threadId === undefined && body.on_completion !== "keep",
      resumable: body.stream_resumable ?? false,
      metadata: { ...assistant.metadata, ...thread.metadata, ...body.metadata },
      kwargs: { ...kwargs, ...(answers && { answers }) },
      idempotency_key: key ?? null,
      request_digest: options.digest ? storedDigest(encryptionOf(context.pool), options.digest) : null,
      after_seconds: body.after_seconds ?? 0,
      thread_config: thread.isBusy
        ? null
        : { configurable: mergedConfigurable(assistant, thread, body.config?.configurable) },
      ...(!isLocked && { new_thread: { metadata: thread.metadata, ttl: context.defaultTtl } }),
    });
    return { run, ...stopped };
  });
}

function busy(): PawlError {
  return new PawlError(
    "thread_busy",
    "Thread is already running a task. Wait for it to finish or choose another multitask strategy.",
  );
}

function refuseUnlessCreated(body: RunCreate): void {
  if (body.if_not_exists === "create") return;
  throw new PawlError("thread_not_found", "Thread not found");
}

/** A resume is matched with what is pending now, so nothing else may be under way on the thread. */
async function answersOf(
  { body, thread, assistant }: { body: RunCreate; thread: Target; assistant: Assistant },
  pendingAt: (at: ThreadCheckpoint) => Promise<OpenQuestion[]>,
) {
  const { resume, update, goto } = body.command ?? {};
  if (resume === null && !update && !goto && (body.input ?? null) === null) {
    throw new PawlError("invalid_input", "null is no answer by itself: to give it, send {interrupt_id: null}");
  }
  if (resume === undefined || resume === null) return undefined;
  if (thread.isUnderWay) throw busy();
  if (thread.graph_id !== null && thread.graph_id !== assistant.graph_id) {
    throw new PawlError(
      "invalid_input",
      `The questions of this thread are the graph's ${thread.graph_id}, not ${assistant.graph_id}'s`,
    );
  }
  const checkpoint_id = checkpointOf(body)?.checkpoint_id;
  return matchAnswers(resume, await pendingAt({ thread_id: thread.thread_id, checkpoint_id }));
}

/** A thread that comes with its run. */
function newTarget(threadId: ThreadId, body: RunCreate, { graph_id, assistant_id }: Assistant): Target {
  const metadata = { graph_id, assistant_id, ...body.metadata };
  const rest = { config: {}, graph_id: null, isBusy: false, isUnderWay: false, isTemporary: false };
  return { thread_id: threadId, metadata, ...rest };
}

/** Undefined for a thread that there is not, or of another tenant. */
async function readTarget(tx: Queryable, principal: Principal, threadId: string): Promise<Target | undefined> {
  const { rows } = await tx.query<Target & { readonly tenant: string }>({
    name: "read-thread-for-run",
    text: `
      select thread_id, tenant, config, metadata, graph_id,
             alive.runs > 0 as "isBusy", alive.due > 0 as "isUnderWay", alive.temporary > 0 as "isTemporary"
        from threads t
       cross join lateral (
               select count(*) as runs,
                      count(*) filter (where ready or run_after <= clock_timestamp()) as due,
                      count(*) filter (where temporary) as temporary
                 from runs r
                where r.thread_id = t.thread_id and r.status in ('pending', 'running')) alive
       where thread_id = $1`,
    values: [threadId],
  });
  // Not a condition: of a young table Postgres may believe that its tenant has one thread, and look through them all.
  return rows.find(({ tenant }) => tenant === principal.tenant);
}

function usable(thread: Target | undefined): Target {
  if (!thread) throw new PawlError("thread_not_found", "Thread not found");
  if (thread.isTemporary) throw new PawlError("thread_busy", "The thread belongs to a stateless run, and goes with it");
  return thread;
}

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

/** Of a thread whose row is locked. */
const occupied = `
           occupied as (
             update threads
                set status = 'busy', graph_id = $6, config = coalesce($15, config), updated_at = now(),
                    metadata = metadata || jsonb_build_object('graph_id', $6::text, 'assistant_id', $5::uuid)
              where thread_id = $4)`;

const made = `
           made as (
             insert into threads (thread_id, tenant, created_by, status, graph_id, config, metadata, ttl_minutes, ttl_strategy)
             values ($4, $2, $3, 'busy', $6, $15,
                     $16::jsonb || jsonb_build_object('graph_id', $6::text, 'assistant_id', $5::uuid), $17, $18)
             returning thread_id),
           owned as (insert into thread_owner (thread_id) select thread_id from made)`;

/** Inserts the run, and its thread if that is new, sets the thread busy, and commits. */
async function insertRun(tx: Transaction, encryption: Encryption | undefined, run: NewRun): Promise<Run> {
  const { new_thread: thread } = run;
  const { rows } = await tx.commitWith<RunPlace & Record<"kwargs", unknown>>({
    name: thread ? "insert-run-and-thread" : "insert-run",
    text: `
      with due as (select clock_timestamp() + make_interval(secs => $14) as run_after),${thread ? made : occupied}
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
      run.request_digest,
      run.after_seconds,
      run.thread_config,
      ...(thread ? [thread.metadata, thread.ttl?.ttl ?? null, thread.ttl?.strategy ?? null] : []),
    ],
  });
  return Run.parse(openRun(encryption, rows[0]!));
}
