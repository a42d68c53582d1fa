/** A claimed run from claim to end: executes the attempt, reads what the thread looks like now, and writes it all down. */
import type { RunControl } from "@langchain/langgraph";
import type pg from "pg";
import { encryptionOf } from "../checkpoints/encryption.ts";
import { repeatable, retrying } from "../db/retry.ts";
import type { Signals } from "../db/signals.ts";
import { asError, PawlError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { Answering } from "./answering.ts";
import type { ClaimedRun } from "./claim.ts";
import { concludeRun } from "./conclude.ts";
import type { Hub } from "./events/hub.ts";
import { EventWriter } from "./events/writer.ts";
import { type Attempt, executeAttempt } from "./execute.ts";
import type { AnyGraph, Graphs } from "./index.ts";
import { requeueRun } from "./requeue.ts";
import { withInterrupts } from "./read.ts";
import { Stop, stopCauseOf } from "./stop.ts";

export interface AttemptContext {
  readonly pool: pg.Pool;
  readonly hub: Hub;
  readonly signals: Signals;
  readonly graphs: Graphs;
  /** Of the POSTs that are answered in this process, if any are. */
  readonly answering?: Answering;
  readonly workerId: string;
  readonly log: Log;
}

/** A run that executes here, and the ways to stop it. */
export interface RunHandle {
  readonly run: ClaimedRun;
  /** Aborted with a `Stop`. */
  readonly stopping: AbortController;
  readonly control: RunControl;
}

/** Times that a process may die with a run which it executes alone, and without a step in between. */
const MAX_STALLED_ATTEMPTS = 3;

/** Whether the run has ended its process too often. Its graph is not even built any more: that may be what does it. */
export const isAbandoned = (run: ClaimedRun): boolean => run.stalled_attempts >= MAX_STALLED_ATTEMPTS;

function abandoned({ stalled_attempts }: ClaimedRun): PawlError {
  return new PawlError(
    "run_abandoned",
    `The process that executed this run alone died ${stalled_attempts} times before the next step was done`,
  );
}

/**
 * Never throws: a run that could not be finished stays this worker's in the database, and the worker's sweep gives it
 * back to the queue. Resolves to whether another run of the thread may be claimed now.
 */
export async function attemptRun(context: AttemptContext, handle: RunHandle): Promise<boolean> {
  const { run, stopping } = handle;
  const { hub, signals, pool, answering } = context;
  const log = context.log.child({ run_id: run.run_id, thread_id: run.thread_id, attempt: run.attempt });
  const events = new EventWriter({
    pool: repeatable(pool),
    hub,
    signals,
    owner: run,
    encryption: encryptionOf(pool),
    run,
    onFailure: (error) => stopping.abort(new Stop({ kind: "lost", detail: error.message })),
  });
  hub.open(run.run_id, { isFirst: run.attempt === 1 });
  log.info({ graph_id: run.graph_id }, "run started");
  try {
    const graph = await resolveGraph(context, run);
    const attempt = await attemptWith({ ...context, ...handle, graph, events });
    const isAnswered = answering?.isToBeNoted(run.run_id) ?? false;
    const end = await concludeRun({ pool, run, graph, events, attempt, isAnswered, signal: stopping.signal, log });
    if (!end) {
      log.info({ why: stopCauseOf(stopping.signal)?.kind ?? attempt.result }, "run given back");
      await events.flush(); // before the requeue fences it off
      await retrying(() => requeueRun(pool, { ...run, worker_id: context.workerId }));
      return true;
    }
    const { ending, promoted } = end;
    if (isAnswered) answering?.noted(run.run_id);
    const values = ending.thread ? withInterrupts(ending.thread.values, ending.thread.interrupts) : null;
    hub.end(run.run_id, { status: ending.status, values, ...(ending.error && { error: ending.error }) });
    log.info({ status: ending.status, error: ending.error?.error }, "run finished");
    return promoted;
  } catch (thrown) {
    log.warn({ error: asError(thrown) }, "run left to the queue");
    await events.flush(); // what was to be written with the end
    return false;
  } finally {
    hub.release(run.run_id);
    signals.send("events", run.run_id);
  }
}

/** A graph that cannot be built fails its run like a node that throws. */
async function resolveGraph({ graphs }: AttemptContext, run: ClaimedRun): Promise<AnyGraph | Error> {
  if (isAbandoned(run)) return abandoned(run);
  if (run.unreadable) return run.unreadable;
  const { graph_id, kwargs } = run;
  const loaded = graphs.get(graph_id);
  if (!loaded) return new Error(`The graph ${graph_id} is not loaded`);
  return loaded.resolve({ configurable: kwargs.config.configurable }).catch(asError);
}

type AttemptWith = AttemptContext & RunHandle & { readonly graph: AnyGraph | Error; readonly events: EventWriter };

async function attemptWith({ pool, run, stopping, control, graph, events }: AttemptWith): Promise<Attempt> {
  if (run.cancel_action) stopping.abort(new Stop({ kind: "cancelled", action: run.cancel_action }));
  if (stopping.signal.aborted) return { result: "stopped" };
  if (graph instanceof Error) return { result: "failed", error: graph };
  return executeAttempt({ pool, run, graph, events, signal: stopping.signal, control });
}
