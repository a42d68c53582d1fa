/**
 * One attempt at a run: the graph is streamed with a saver bound to the lease, its events go to clients and to the log.
 * Says how the attempt went; writing that down is the caller's.
 */
import { isGraphDrained, type RunControl } from "@langchain/langgraph";
import type { CheckpointTuple } from "@langchain/langgraph-checkpoint";
import type pg from "pg";
import { encryptionOf } from "../checkpoints/encryption.ts";
import type { FencedSaver } from "../checkpoints/fenced-saver.ts";
import { FilesInPostgres } from "../checkpoints/files.ts";
import { QuestionTracker } from "../checkpoints/question-tracker.ts";
import { repeatable } from "../db/retry.ts";
import { asError } from "../lib/errors.ts";
import { type Host, HOST_KEY, offerHost } from "../lib/host.ts";
import { uuidv7 } from "../lib/ids.ts";
import type { ClaimedRun } from "./claim.ts";
import { RunLedger } from "./effects/ledger.ts";
import type { EventWriter } from "./events/writer.ts";
import type { AnyGraph } from "./index.ts";
import { startOf } from "./start.ts";
import { stopCauseOf } from "./stop.ts";
import { streamGraph } from "./stream/stream-graph.ts";
import { SaverWithEvents } from "./saver-with-events.ts";

interface AttemptOptions {
  readonly pool: pg.Pool;
  readonly run: ClaimedRun;
  readonly graph: AnyGraph;
  readonly events: EventWriter;
  /** Aborted with a `Stop`. */
  readonly signal: AbortSignal;
  /** Asks the graph to stop at its next step. */
  readonly control: RunControl;
}

export type Attempt =
  /** `newest`: the thread's newest checkpoint, where the attempt knows it. */
  | { readonly result: "finished"; readonly newest: CheckpointTuple | undefined }
  | { readonly result: "failed"; readonly error: Error }
  | { readonly result: "drained" }
  | { readonly result: "stopped" };

/** Milliseconds that a stopped graph gets to end by itself before it is left behind. */
const STOP_GRACE_MS = 2_000;

export async function executeAttempt(options: AttemptOptions): Promise<Attempt> {
  const { pool, run, graph, events, signal } = options;
  const token = `${run.run_id}/${run.epoch}`;
  const withdraw = offerHost(token, hostFor(options));
  const tracker = new QuestionTracker();
  // What a saver writes says what to do if it has landed already.
  const saver = new SaverWithEvents(
    { pool: repeatable(pool), run, events },
    { tracker, graph, isFirst: run.has_new_thread },
  );
  try {
    await events.push("metadata", { run_id: run.run_id, attempt: run.attempt });
    await Promise.race([streamEvents(options, { token, tracker, saver }), afterStop(signal)]);
    return signal.aborted ? { result: "stopped" } : { result: "finished", newest: await saver.newest() };
  } catch (thrown) {
    if (signal.aborted) return { result: "stopped" };
    if (isGraphDrained(thrown)) return { result: "drained" };
    return { result: "failed", error: asError(thrown) };
  } finally {
    withdraw();
    const closed = saver.close();
    const kind = stopCauseOf(signal)?.kind;
    // When the run was given back or lost, nobody here reads the thread, and the saver may wait for answers that never come.
    if (kind !== "lost" && kind !== "shutdown") await closed;
  }
}

async function streamEvents(
  { pool, run, graph, events, signal, control }: AttemptOptions,
  { token, tracker, saver }: { token: string; tracker: QuestionTracker; saver: FencedSaver },
): Promise<void> {
  const { input, checkpoint, resuming } = await startOf({ run, graph, saver, db: pool });
  const { kwargs } = run;
  const stream = streamGraph({
    graph,
    input,
    kwargs,
    config: {
      configurable: {
        ...kwargs.config.configurable,
        ...checkpoint,
        ...resuming,
        __pregel_checkpointer: saver,
        [HOST_KEY]: token,
      },
      metadata: {
        ...run.metadata,
        run_id: run.run_id,
        graph_id: run.graph_id,
        ...(run.graph_hash !== null && { graph_hash: run.graph_hash }),
        assistant_id: run.assistant_id,
        run_attempt: run.attempt,
      },
    },
    tracker,
    signal,
    control,
  });
  for await (const { event, data } of stream) {
    if (signal.aborted) break;
    await events.push(event, data);
  }
}

function hostFor({ pool, run, signal }: AttemptOptions): Host {
  const startedAt = run.kwargs.checkpoint?.checkpoint_id;
  const kept = { owner: run, encryption: encryptionOf(pool) };
  return {
    ledger: new RunLedger({ ...kept, db: pool, run, signal, durability: run.kwargs.durability }),
    files: (checkpointId) => new FilesInPostgres({ ...kept, db: repeatable(pool), checkpointId, startedAt }),
    now: () => new Date(),
    random: () => Math.random(),
    id: () => uuidv7(),
  };
}

/** Resolves a while after `signal` was aborted: a node that ignores it must not hold its thread. */
function afterStop(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const wait = (): void => void setTimeout(resolve, STOP_GRACE_MS).unref();
    if (signal.aborted) wait();
    else signal.addEventListener("abort", wait, { once: true });
  });
}
