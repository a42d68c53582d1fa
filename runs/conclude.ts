/**
 * The end of an attempt: what became of the run, and of its thread, written down in one transaction. A cancel that was
 * accepted meanwhile wins, since who asked was told that the run would stop.
 */
import type pg from "pg";
import { FencedSaver } from "../checkpoints/fenced-saver.ts";
import { HeldSaver } from "../checkpoints/held-saver.ts";
import { repeatable } from "../db/retry.ts";
import { asError, isPawlError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { INTERNAL, runErrorOf } from "./attempt-error.ts";
import type { ClaimedRun } from "./claim.ts";
import type { EventWriter } from "./events/writer.ts";
import type { Attempt } from "./execute.ts";
import { type Ending, finishRun, undoCheckpoints } from "./finish.ts";
import type { AnyGraph } from "./index.ts";
import { CancelAction } from "./run.ts";
import { readSettledState } from "./settled-state.ts";
import { type StopCause, stopCauseOf } from "./stop.ts";

interface Conclusion {
  readonly pool: pg.Pool;
  readonly run: ClaimedRun;
  readonly graph: AnyGraph | Error;
  readonly events: EventWriter;
  readonly attempt: Attempt;
  readonly isAnswered: boolean;
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** Undefined when the run is not over and goes back to the queue. Throws what `finishRun` throws, but for a late cancel. */
export async function concludeRun(
  conclusion: Conclusion,
): Promise<{ readonly ending: Ending; readonly promoted: boolean } | undefined> {
  const { pool, run, log } = conclusion;
  let { attempt } = conclusion;
  let cause = stopCauseOf(conclusion.signal);
  for (;;) {
    const ending = await endingOf({ ...conclusion, attempt }, cause);
    if (!ending) return undefined;
    // A flush that failed has left a gap in the log: a run that ended now would never tell those events.
    if (stopCauseOf(conclusion.signal)?.kind === "lost") return undefined;
    try {
      return { ending, ...(await finishRun(pool, run, ending)) };
    } catch (thrown) {
      const error = asError(thrown);
      if (isPawlError(error, "run_cancelled")) {
        attempt = { result: "stopped" };
        cause = { kind: "cancelled", action: CancelAction.parse(error.facts["action"]) };
        continue;
      }
      if (isNotItsOwn(error)) throw error;
      log.error({ error }, "the state of the thread cannot be stored");
      const last = unstorable(ending);
      return { ending: last, ...(await finishRun(pool, run, last)) };
    }
  }
}

/** What is to be written down. */
async function endingOf(conclusion: Conclusion, cause: StopCause | undefined): Promise<Ending | undefined> {
  const { pool, run, graph, events, attempt, isAnswered, log } = conclusion;
  if (attempt.result === "drained" || cause?.kind === "shutdown" || cause?.kind === "lost") return undefined;
  if (attempt.result === "failed" && isNotItsOwn(attempt.error)) return undefined;
  const error = attempt.result === "failed" ? runErrorOf(attempt.error) : undefined;
  if (attempt.result === "failed" && error?.error === INTERNAL)
    log.error({ error: attempt.error }, "run failed inside");
  if (error) await events.push("error", error);
  const isRolledBack = cause?.kind === "cancelled" && cause.action === "rollback";
  if (isRolledBack) await undoCheckpoints(pool, run);
  // A graph that cannot go on from the state cannot say what it is either: the thread keeps what it had, questions too.
  const isForeign = attempt.result === "failed" && isPawlError(attempt.error, "graph_changed");
  const state = graph instanceof Error || isForeign ? undefined : await settledState({ ...conclusion, graph });
  const ending = { status: cause ? "interrupted" : error ? "error" : "success", isRolledBack, isAnswered } as const;
  if (!(state instanceof Error)) {
    return { ...ending, ...(error && { error }), ...(state && { thread: state }), log: await events.lastRow() };
  }
  if (cause || error) return { ...ending, ...(error && { error }), log: await events.lastRow() };
  const unreadable = runErrorOf(state);
  await events.push("error", unreadable);
  return { status: "error", error: unreadable, isRolledBack, isAnswered, log: await events.lastRow() };
}

/** A state that the graph itself cannot read is an end, too: trying again would fail again, for ever. */
async function settledState({ pool, run, graph, attempt }: Conclusion & { readonly graph: AnyGraph }) {
  const stored = new FencedSaver(repeatable(pool), { thread_id: run.thread_id, epoch: run.epoch });
  const newest = attempt.result === "finished" ? attempt.newest : undefined;
  const saver = newest ? new HeldSaver(repeatable(pool), newest, stored) : stored;
  const read = readSettledState({ graph, saver, threadId: run.thread_id, kwargs: run.kwargs });
  return read.catch((thrown: unknown) => {
    const error = asError(thrown);
    if (isNotItsOwn(error)) throw error;
    return error;
  });
}

/** The end of a run whose result Postgres refuses: trying again would fail again. */
function unstorable({ isRolledBack, isAnswered, log }: Ending): Ending {
  const error = { error: INTERNAL, message: "The state of the thread could not be stored" };
  return { status: "error", error, isRolledBack, isAnswered, log };
}

/**
 * Errors that say nothing about the run, whoever wrapped them: its worker lost the lease, or our database was out of
 * reach. Not by what a connection error looks like: one of the graph's own would be tried again for ever.
 */
function isNotItsOwn(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return isPawlError(error, "lease_lost") || isPawlError(error, "database_unavailable") || isNotItsOwn(error.cause);
}
