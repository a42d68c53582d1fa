/** A claimed run from claim to end: executes the attempt, reads what the thread looks like now, and writes it all down. */
import type { RunControl } from "@langchain/langgraph";
import type pg from "pg";
import { FencedSaver } from "../checkpoints/fenced-saver.ts";
import type { Signals } from "../db/signals.ts";
import { isConnectionError } from "../db/connection-error.ts";
import { asError, isPawlError, PawlError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { INTERNAL, runErrorOf } from "./attempt-error.ts";
import type { ClaimedRun } from "./claim.ts";
import type { Hub } from "./events/hub.ts";
import { EventWriter } from "./events/writer.ts";
import { type Attempt, executeAttempt } from "./execute.ts";
import { type Ending, finishRun, undoCheckpoints } from "./finish.ts";
import type { AnyGraph, Graphs } from "./index.ts";
import { requeueRun } from "./requeue.ts";
import { readSettledState } from "./settled-state.ts";
import { withInterrupts } from "./read.ts";
import { Stop, stopCauseOf } from "./stop.ts";

export interface AttemptContext {
  readonly pool: pg.Pool;
  readonly hub: Hub;
  readonly signals: Signals;
  readonly graphs: Graphs;
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

/** A run that takes its worker down each time must not do so for ever. */
const MAX_ATTEMPTS = 25;

/**
 * Never throws: a run that could not be finished stays this worker's in the database, and the worker's sweep gives it
 * back to the queue. Resolves to whether another run of the thread may be claimed now.
 */
export async function attemptRun(context: AttemptContext, handle: RunHandle): Promise<boolean> {
  const { run, stopping } = handle;
  const { hub, signals, pool } = context;
  const log = context.log.child({ run_id: run.run_id, thread_id: run.thread_id, attempt: run.attempt });
  const events = new EventWriter({
    db: pool,
    hub,
    signals,
    owner: run,
    run,
    onFailure: (error) => stopping.abort(new Stop({ kind: "lost", detail: error.message })),
  });
  hub.open(run.run_id);
  log.info({ graph_id: run.graph_id }, "run started");
  try {
    const graph = await resolveGraph(context, run);
    const attempt = await attemptWith({ ...context, ...handle, graph, events });
    const ending = await endingOf({ pool, run, graph, events, attempt, signal: stopping.signal, log });
    if (!ending) {
      log.info({ why: stopCauseOf(stopping.signal)?.kind ?? attempt.result }, "run given back");
      await events.flush(); // before the requeue fences it off
      await requeueRun(pool, { ...run, worker_id: context.workerId });
      return true;
    }
    await events.flush();
    const { promoted } = await finishRun(pool, run, ending).catch((thrown: unknown) => {
      if (isNotItsOwn(asError(thrown))) throw thrown;
      log.error({ error: asError(thrown) }, "the state of the thread cannot be stored");
      return finishRun(pool, run, unstorable(ending));
    });
    const values = ending.thread ? withInterrupts(ending.thread.values, ending.thread.interrupts) : null;
    hub.end(run.run_id, { status: ending.status, values, ...(ending.error && { error: ending.error }) });
    log.info({ status: ending.status, error: ending.error?.error }, "run finished");
    return promoted;
  } catch (thrown) {
    log.warn({ error: asError(thrown) }, "run left to the queue");
    return false;
  } finally {
    hub.release(run.run_id);
    signals.send("events", run.run_id);
  }
}

/** A graph that cannot be built fails its run like a node that throws. */
async function resolveGraph({ graphs }: AttemptContext, { graph_id, kwargs }: ClaimedRun): Promise<AnyGraph | Error> {
  const loaded = graphs.get(graph_id);
  if (!loaded) return new Error(`The graph ${graph_id} is not loaded`);
  return loaded.resolve({ configurable: kwargs.config.configurable }).catch(asError);
}

type AttemptWith = AttemptContext & RunHandle & { readonly graph: AnyGraph | Error; readonly events: EventWriter };

async function attemptWith({ pool, run, stopping, control, graph, events }: AttemptWith): Promise<Attempt> {
  if (run.cancel_action) stopping.abort(new Stop({ kind: "cancelled", action: run.cancel_action }));
  if (stopping.signal.aborted) return { result: "stopped" };
  if (run.attempt > MAX_ATTEMPTS) {
    return {
      result: "failed",
      error: new PawlError("run_abandoned", `The run did not end in ${MAX_ATTEMPTS} attempts`),
    };
  }
  if (graph instanceof Error) return { result: "failed", error: graph };
  return executeAttempt({ pool, run, graph, events, signal: stopping.signal, control });
}

interface Conclusion {
  readonly pool: pg.Pool;
  readonly run: ClaimedRun;
  readonly graph: AnyGraph | Error;
  readonly events: EventWriter;
  readonly attempt: Attempt;
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** What is to be written down; undefined when the run is not over and goes back to the queue. */
async function endingOf({ pool, run, graph, events, attempt, signal, log }: Conclusion): Promise<Ending | undefined> {
  const cause = stopCauseOf(signal);
  if (attempt.result === "drained" || cause?.kind === "shutdown" || cause?.kind === "lost") return undefined;
  if (attempt.result === "failed" && isNotItsOwn(attempt.error)) return undefined;
  const error = attempt.result === "failed" ? runErrorOf(attempt.error) : undefined;
  if (attempt.result === "failed" && error?.error === INTERNAL)
    log.error({ error: attempt.error }, "run failed inside");
  if (error) await events.push("error", error);
  const isRolledBack = cause?.kind === "cancelled" && cause.action === "rollback";
  if (isRolledBack) await undoCheckpoints(pool, run);
  const state = graph instanceof Error ? undefined : await settledState({ pool, run, graph });
  const ending = { status: cause ? "interrupted" : error ? "error" : "success", isRolledBack } as const;
  if (!(state instanceof Error)) {
    return { ...ending, ...(error && { error }), ...(state && { thread: state }), lastSeq: events.lastSeq() };
  }
  if (cause || error) return { ...ending, ...(error && { error }), lastSeq: events.lastSeq() };
  const unreadable = runErrorOf(state);
  await events.push("error", unreadable);
  return { status: "error", error: unreadable, isRolledBack, lastSeq: events.lastSeq() };
}

/** A state that the graph itself cannot read is an end, too: trying again would fail again, for ever. */
async function settledState({ pool, run, graph }: Pick<Conclusion, "pool" | "run"> & { readonly graph: AnyGraph }) {
  const saver = new FencedSaver(pool, { thread_id: run.thread_id, epoch: run.epoch });
  const read = readSettledState({ graph, saver, threadId: run.thread_id, kwargs: run.kwargs });
  return read.catch((thrown: unknown) => {
    const error = asError(thrown);
    if (isNotItsOwn(error)) throw error;
    return error;
  });
}

/** The end of a run whose result Postgres refuses: trying again would fail again. */
function unstorable({ isRolledBack, lastSeq }: Ending): Ending {
  const error = { error: INTERNAL, message: "The state of the thread could not be stored" };
  return { status: "error", error, isRolledBack, lastSeq };
}

/** Errors that say nothing about the run: its worker lost the lease, or the database was out of reach. */
function isNotItsOwn(error: Error): boolean {
  return isPawlError(error, "lease_lost") || isPawlError(error, "database_unavailable") || isConnectionError(error);
}
