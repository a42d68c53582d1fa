/**
 * Accepts a run: one transaction inserts it, sets its thread busy and applies the multitask strategy. The thread's row
 * lock makes check and insert one step. A request that comes twice gets the run that was made the first time.
 */
import { DatabaseError } from "pg";
import { encryptionOf } from "../checkpoints/encryption.ts";
import type { ThreadCheckpoint } from "../checkpoints/read-waiting.ts";
import { openedTransaction, type Queryable } from "../db/pool.ts";
import { PawlError } from "../lib/errors.ts";
import { ThreadId, uuidv7 } from "../lib/ids.ts";
import { type Assistant, resolveAssistant } from "./assistants/resolve.ts";
import { cancelRuns } from "./cancel.ts";
import { insertRun } from "./insert.ts";
import { lockThread } from "./queue.ts";
import { type CreateRequest, findCreated, keyOf, lockKey, refuseSpentKey, type ResendContext } from "./resent.ts";
import { checkpointOf, kwargsOf, mergedConfigurable } from "./request.ts";
import { type Answers, matchAnswers, type OpenQuestion } from "./resume.ts";
import type { Run, RunCreate } from "./run.ts";
import type { ParkedThread } from "./skew/find.ts";
import { goesOn, rootOf } from "./skew/starting-point.ts";
import { newTarget, readTarget, requireUsable, type Target } from "./target.ts";
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
  /** Runs that execute somewhere: a signal has to tell their workers to stop. */
  readonly stopping: readonly string[];
}

interface Request extends CreateRequest {
  /** For the run, unless the client has given one. */
  readonly newRunId: string;
}

/** Errors: see `Runs.create`. */
export async function createRun(context: CreateContext, request: Request): Promise<Created> {
  const insert = () => createOnce(context, request);
  // Of two requests for one thread that is not there yet, or with one run id under two keys, the later one fails at first.
  // Its second try finds the other's thread, or its run.
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
  const { principal, body, options } = request;
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
    if (earlier) return { run: earlier, ended: [], stopping: [] };
    if (key !== undefined) await refuseSpentKey(tx, principal, key);
    if (options.threadId !== undefined && !isLocked) refuseUnlessCreated(body);
    const thread = requireUsable(isLocked ? known : newTarget(threadId, body, assistant));
    const answers = await answersOf({ body, thread, assistant }, (at) => context.pendingQuestions(tx, at));
    const strategy = body.multitask_strategy ?? "enqueue";
    if (strategy === "reject" && thread.isBusy) throw busy();
    const stopped =
      strategy === "interrupt" || strategy === "rollback"
        ? await cancelRuns(tx, { threadId, action: strategy })
        : { ended: [], stopping: [] };
    const newRun = newRunOf(request, { assistant, thread, answers });
    const { graph_id, kwargs } = newRun;
    const root = rootOf(kwargs.checkpoint);
    // Of a thread that is busy nobody knows yet where it will stand: the worker looks.
    if (isLocked && root && !thread.isUnderWay && goesOn(kwargs)) {
      const { configurable } = kwargs.config;
      await context.refuseChangedGraph(tx, { thread_id: threadId, graph_id, configurable, ...root });
    }
    const new_thread = { metadata: thread.metadata, ttl: context.defaultTtl };
    const run = await insertRun(tx, encryptionOf(context.pool), { ...newRun, ...(!isLocked && { new_thread }) });
    return { run, ...stopped };
  });
}

/** The run as it will stand in its row. */
function newRunOf(
  { principal, body, options, newRunId }: Request,
  { assistant, thread, answers }: { assistant: Assistant; thread: Target; answers: Answers | undefined },
) {
  const { thread_id } = thread;
  const { assistant_id, graph_id } = assistant;
  const run_id = body.run_id ?? newRunId;
  const ids = { run_id, thread_id, user_id: principal.identity };
  return {
    run_id,
    tenant: principal.tenant,
    created_by: principal.identity,
    thread_id,
    assistant_id,
    graph_id,
    multitask_strategy: body.multitask_strategy ?? "enqueue",
    temporary: options.threadId === undefined && body.on_completion !== "keep",
    resumable: body.stream_resumable ?? false,
    metadata: { ...assistant.metadata, ...thread.metadata, ...body.metadata },
    kwargs: { ...kwargsOf({ body, assistant, thread, ids }), ...(answers && { answers }) },
    idempotency_key: keyOf({ body, options }) ?? null,
    request_digest: options.digest ?? null,
    after_seconds: body.after_seconds ?? 0,
    thread_config: thread.isBusy
      ? null
      : { configurable: mergedConfigurable(assistant, thread, body.config?.configurable) },
  };
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

/**
 * The answers that the run is to give; undefined if it is no resume. They are matched with what is pending now, so nothing
 * else may be under way on the thread.
 */
async function answersOf(
  { body, thread, assistant }: { body: RunCreate; thread: Target; assistant: Assistant },
  pendingAt: (at: ThreadCheckpoint) => Promise<OpenQuestion[]>,
): Promise<Answers | undefined> {
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
