/** Reads what a thread's checkpoints hold, as its graph understands them. */
import type { StateSnapshot } from "@langchain/langgraph";
import { DatabaseError, type Pool } from "pg";
import { z } from "zod";
import { type PendingQuestion, pendingQuestions } from "../../checkpoints/questions.ts";
import { Saver } from "../../checkpoints/saver.ts";
import { asError, isPawlError, PawlError } from "../../lib/errors.ts";
import type { ThreadId } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import { CheckpointRef, type Graphs } from "../index.ts";
import { threadState, type ThreadState } from "../stream/state.ts";
import { withSaver } from "../with-saver.ts";
import { type CheckpointAt, configAt, graphAt, graphOfThread } from "./graph.ts";
import { Json } from "./thread.ts";

export interface StateQuery {
  readonly threadId: ThreadId;
  readonly checkpoint?: CheckpointAt | null | undefined;
  /** Puts the states of waiting subgraphs into their tasks. */
  readonly subgraphs?: boolean;
}

/** What a thread looks like before a graph has run on it. */
const emptyState: ThreadState = {
  values: {},
  next: [],
  tasks: [],
  metadata: {},
  created_at: null,
  checkpoint: null,
  parent_checkpoint: null,
  interrupts: [],
};

/** Throws `thread_not_found`, `checkpoint_not_found`, `graph_not_found`, `graph_invalid` (the graph cannot read this state). */
export async function getState(
  { pool, graphs }: { pool: Pool; graphs: Graphs },
  principal: Principal,
  { threadId, checkpoint, subgraphs = false }: StateQuery,
): Promise<ThreadState> {
  const known = await graphOfThread({ db: pool, graphs }, principal, threadId);
  if (!known) return emptyState;
  const graph = await graphAt(known.graph, checkpoint?.checkpoint_ns);
  const saver = new Saver(pool);
  const config = configAt({ threadId, checkpoint, configurable: known.configurable }, saver);
  const snapshot = await withSaver(graph, saver)
    .getState(config, { subgraphs })
    .catch((thrown: unknown) => {
      throw unreadable(thrown);
    });
  if (snapshot.createdAt === undefined) {
    if (!checkpoint?.checkpoint_id) return emptyState;
    const facts = { checkpoint_id: checkpoint.checkpoint_id };
    throw new PawlError("checkpoint_not_found", `Checkpoint ${checkpoint.checkpoint_id} not found`, { facts });
  }
  return threadState(snapshot, await questionsAt(saver, threadId, snapshot));
}

/** A checkpoint's id alone, a checkpoint, or the library's config of one: clients send all three. */
const Before = z.union([
  z.string().transform((checkpoint_id) => ({ checkpoint_id })),
  z.object({ configurable: CheckpointRef }).transform(({ configurable }) => configurable),
  CheckpointRef,
]);

/** Unknown keys are ignored. */
export const HistoryQuery = z.object({
  limit: z.number().int().min(1).max(1_000).default(10),
  before: Before.nullish(),
  metadata: Json.nullish(),
  checkpoint: CheckpointRef.nullish(),
});
export type HistoryQuery = z.infer<typeof HistoryQuery>;

/** Newest first; empty before a graph has run on the thread. Throws `thread_not_found`, `graph_not_found`. */
export async function getHistory(
  { pool, graphs }: { pool: Pool; graphs: Graphs },
  principal: Principal,
  { threadId, limit, before, metadata, checkpoint }: HistoryQuery & { threadId: ThreadId },
): Promise<ThreadState[]> {
  const known = await graphOfThread({ db: pool, graphs }, principal, threadId);
  if (!known) return [];
  const graph = await graphAt(known.graph, checkpoint?.checkpoint_ns);
  const saver = new Saver(pool);
  const states: ThreadState[] = [];
  for await (const snapshot of withSaver(graph, saver).getStateHistory(
    configAt({ threadId, checkpoint, configurable: known.configurable }, saver),
    {
      limit,
      ...(before?.checkpoint_id && { before: { configurable: { checkpoint_id: before.checkpoint_id } } }),
      ...(metadata && { filter: metadata }),
    },
  )) {
    states.push(threadState(snapshot, await questionsAt(saver, threadId, snapshot)));
  }
  return states;
}

/** What only the graph can have thrown, for example because its parallel nodes wrote what cannot be merged. */
function unreadable(thrown: unknown): unknown {
  const error = asError(thrown);
  if (isPawlError(error) || error instanceof DatabaseError) return error;
  return new PawlError("graph_invalid", `The graph cannot read the state of this thread: ${error.message}`, {
    cause: error,
  });
}

/** The questions that are open at the snapshot's checkpoint; most have none, and then nothing is read. */
async function questionsAt(
  saver: Saver,
  threadId: ThreadId,
  { tasks, config }: StateSnapshot,
): Promise<PendingQuestion[]> {
  if (tasks.every((task) => task.interrupts.length === 0)) return [];
  const { checkpoint_ns, checkpoint_id, checkpoint_map } = config.configurable ?? {};
  // Questions are found from the outermost graph down; a subgraph's config says where that was.
  const root: unknown = checkpoint_ns ? checkpoint_map?.[""] : checkpoint_id;
  return pendingQuestions(saver, { thread_id: threadId, ...(typeof root === "string" && { checkpoint_id: root }) });
}
