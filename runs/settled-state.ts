/** What a thread looks like after an attempt at a run, read through the graph and the run's own saver. */
import { pendingQuestions } from "../checkpoints/questions.ts";
import type { Saver } from "../checkpoints/saver.ts";
import type { AnyGraph } from "./index.ts";
import type { RunKwargs } from "./run.ts";
import { withSaver } from "./with-saver.ts";
import { type ThreadProjection, threadProjection } from "./threads/projection.ts";

interface SettledStateOptions {
  readonly graph: AnyGraph;
  readonly saver: Saver;
  readonly threadId: string;
  readonly kwargs: RunKwargs;
}

export async function readSettledState({
  graph,
  saver,
  threadId,
  kwargs,
}: SettledStateOptions): Promise<ThreadProjection> {
  const snapshot = await withSaver(graph, saver).getState({
    configurable: { ...kwargs.config.configurable, thread_id: threadId, __pregel_checkpointer: saver },
  });
  // Not `next`: it leaves out a task that has got an answer and asks again.
  const questions = snapshot.tasks.length > 0 ? await pendingQuestions(saver, { thread_id: threadId }) : [];
  return threadProjection(snapshot, questions);
}
