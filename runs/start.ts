/** Where an attempt starts: at the checkpoint that was asked for, or where an earlier attempt at the run has got to. */
import type { CheckpointMetadata } from "@langchain/langgraph-checkpoint";
import type { FencedSaver } from "../checkpoints/fenced-saver.ts";
import { pendingQuestions } from "../checkpoints/questions.ts";
import type { Queryable } from "../db/pool.ts";
import { PawlError } from "../lib/errors.ts";
import type { ClaimedRun } from "./claim.ts";
import type { AnyGraph } from "./index.ts";
import { inputOf } from "./input.ts";
import { openAnswers } from "./resume.ts";
import type { RunKwargs } from "./run.ts";
import { refuseChangedGraph } from "./skew/find.ts";
import { goesOn, rootOf } from "./skew/starting-point.ts";

interface Start {
  readonly input: unknown;
  /** For `configurable`; absent for the thread's newest. */
  readonly checkpoint?: RunKwargs["checkpoint"];
  /**
   * For `configurable`: an earlier attempt has recorded all answers, and the step goes on that they are for. Without it
   * the library would take an update that came with them for an input, in the place of the step, and a checkpoint that
   * was chosen for one to fork.
   */
  readonly resuming?: { readonly __pregel_resuming: true };
}

interface StartOptions {
  readonly run: ClaimedRun;
  readonly graph: AnyGraph;
  readonly saver: FencedSaver;
  readonly db: Queryable;
}

/** Throws `graph_changed` when the graph cannot go on from there, and `unknown_interrupt` for an answer that came too late. */
export async function startOf(options: StartOptions): Promise<Start> {
  const { run, saver } = options;
  const { thread_id, kwargs } = run;
  const hasBegun = run.attempt > 1 && (await hasStored(run, saver));
  const checkpoint = hasBegun ? undefined : kwargs.checkpoint;
  if (hasBegun || goesOn(kwargs)) await refuseUnfit(options, { checkpoint, hasBegun });
  const pending = kwargs.answers
    ? await pendingQuestions(saver, { thread_id, ...(checkpoint && { checkpoint_id: checkpoint.checkpoint_id }) })
    : [];
  const answers = kwargs.answers ?? [];
  const open = openAnswers(answers, pending);
  // On a later attempt an answer may be recorded already; on the first one it is too late for what is not open.
  if (run.attempt === 1 && open.length < answers.length) {
    throw new PawlError(
      "unknown_interrupt",
      "The question was answered or superseded before this answer could be given",
    );
  }
  const input = inputOf(kwargs, { hasBegun, open });
  const isTaken = !hasBegun && answers.length > 0 && open.length === 0;
  return {
    input,
    ...(checkpoint && { checkpoint: kwargs.answers ? checkpoint : await unused(options, checkpoint) }),
    ...(isTaken && { resuming: { __pregel_resuming: true } }),
  };
}

/**
 * Throws `graph_changed`; also for a run that another build has begun, which a build that knows it can then go on with.
 * Each deployment meets such runs, most of them right after a model call. A call of a tool that the model has invented must
 * not end them: so for a run that has begun it is no sign of a lost tool that the call was made under another build.
 */
async function refuseUnfit(
  { run, graph, saver, db }: StartOptions,
  start: Pick<Start, "checkpoint"> & { hasBegun: boolean },
) {
  const root = rootOf(start.checkpoint);
  const { thread_id, graph_id } = run;
  const { configurable } = run.kwargs.config;
  if (root) {
    const buildOf = async () => ({ graph, hash: start.hasBegun ? null : run.graph_hash });
    await refuseChangedGraph({ saver, db, buildOf }, { thread_id, graph_id, configurable, ...root });
  }
}

/** Whether an earlier attempt has fed the input. A fork comes before that, unless there is nothing to feed. */
async function hasStored({ thread_id, run_id, kwargs }: ClaimedRun, saver: FencedSaver): Promise<boolean> {
  const newest = await saver.getTuple({ configurable: { thread_id } });
  const { run_id: writer, source } = (newest?.metadata ?? {}) as CheckpointMetadata<{ run_id?: string }>;
  const feeds = kwargs.input !== undefined && kwargs.input !== null;
  return writer === run_id && !(source === "fork" && (feeds || kwargs.command));
}

/**
 * The library forks a checkpoint that a run starts from, but goes on in one that is a fork or an edit already: what an
 * earlier run answered and finished there would count for this one. So such a one is copied once it has been used.
 */
async function unused({ run, graph, saver }: StartOptions, checkpoint: NonNullable<Start["checkpoint"]>) {
  if (checkpoint.checkpoint_ns !== "") return checkpoint;
  const place = { ...run.kwargs.config.configurable, ...checkpoint, __pregel_checkpointer: saver };
  const tuple = await saver.getTuple({ configurable: place });
  const source = tuple?.metadata?.source;
  if ((source !== "fork" && source !== "update") || tuple?.pendingWrites?.length === 0) return checkpoint;
  const copy = await graph.updateState({ configurable: place }, null, "__copy__");
  return { checkpoint_id: String(copy.configurable?.["checkpoint_id"]), checkpoint_ns: "" };
}
