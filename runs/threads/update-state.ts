/**
 * Edits a thread's state by hand, as if a node had written. The edit owns the thread while it lasts: it raises the
 * epoch, so that it and a run can never both write. A run that is created meanwhile wins if it is claimed before the
 * edit lands; else it starts from the edited state.
 */
import type pg from "pg";
import { z } from "zod";
import { FencedSaver } from "../../checkpoints/fenced-saver.ts";
import type { Owner } from "../../db/fence.ts";
import { type Queryable, transaction } from "../../db/pool.ts";
import { asError, isPawlError, PawlError } from "../../lib/errors.ts";
import type { ThreadId } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import { CheckpointRef, type Graphs } from "../index.ts";
import { lockThread } from "../queue.ts";
import { refuseChangedGraph } from "../skew/find.ts";
import { checkpointRef, type CheckpointRef as StoredCheckpoint } from "../stream/checkpoint-ref.ts";
import { threadNotFound } from "./get.ts";
import { type CheckpointAt, configAt, graphAt, graphOfThread, type ThreadGraph } from "./graph.ts";
import { refreshThread } from "./refresh.ts";

/** The library looks nodes up in a plain object: the names of what every object has must not reach it. */
export const NodeName = z.string().refine((name) => !(name in Object.prototype), "is no node");

/** Unknown keys are ignored. */
export const StateUpdate = z.object({
  /** `null` has a meaning of its own: together with `as_node` it reaches the library as it is. */
  values: z.union([z.record(z.string(), z.unknown()), z.array(z.unknown())]).nullish(),
  /** A node, or `__copy__` (fork), `__end__` (drop what is pending), `__input__`. */
  as_node: NodeName.nullish(),
  checkpoint: CheckpointRef.nullish(),
  checkpoint_id: z.string().nullish(),
});
export type StateUpdate = z.infer<typeof StateUpdate>;

/**
 * Returns the checkpoint that holds the edit. Throws `thread_not_found`, `thread_busy` (a run is pending or running, or
 * was claimed meanwhile), `invalid_input` (no graph has run on the thread, or the graph refuses the update),
 * `checkpoint_not_found`, `graph_not_found`, `graph_changed` (the graph cannot go on from there; see `refuseUnfit`).
 */
export async function updateState(
  { pool, graphs }: { pool: pg.Pool; graphs: Graphs },
  principal: Principal,
  { threadId, ...update }: StateUpdate & { threadId: ThreadId },
): Promise<StoredCheckpoint | null> {
  const known = await graphOfThread({ db: pool, graphs }, principal, threadId);
  if (!known) throw new PawlError("invalid_input", "No graph has run on this thread, so it has no state to edit");
  const checkpoint = { ...update.checkpoint, ...(update.checkpoint_id && { checkpoint_id: update.checkpoint_id }) };
  const graph = await graphAt(known.graph, checkpoint.checkpoint_ns);
  const owner = await takeIdleThread(pool, threadId);
  const saver = new FencedSaver(pool, owner, checkpoint.checkpoint_ns ? {} : { graph });
  const config = configAt({ threadId, checkpoint, configurable: known.configurable }, saver);
  if (checkpoint.checkpoint_id && !(await saver.getTuple(config))) {
    const facts = { checkpoint_id: checkpoint.checkpoint_id };
    throw new PawlError("checkpoint_not_found", `Checkpoint ${checkpoint.checkpoint_id} not found`, { facts });
  }
  if (!update.as_node?.startsWith("__")) await refuseUnfit({ saver, db: pool }, known, { threadId, checkpoint });
  try {
    const edited = await graph.updateState(
      { ...config, ...(update.as_node === "__end__" && ofNoRun) },
      update.values ?? null,
      update.as_node ?? undefined,
    );
    await refreshThread(pool, owner, known);
    return checkpointRef(edited);
  } catch (error) {
    throw refusedUpdate(error, threadId);
  }
}

/**
 * An edit takes the place of what is due. Not so `__copy__`, which keeps all as it is, and `__end__` and `__input__`,
 * which say on purpose that what is pending may go.
 */
async function refuseUnfit(
  at: { saver: FencedSaver; db: Queryable },
  { graph_id, graph, hash, configurable }: ThreadGraph,
  { threadId, checkpoint }: { threadId: ThreadId; checkpoint: CheckpointAt },
): Promise<void> {
  if (checkpoint.checkpoint_ns) return; // the root that it belongs to is not named
  const { checkpoint_id } = checkpoint;
  await refuseChangedGraph(
    { ...at, buildOf: async () => ({ graph, hash }) },
    { thread_id: threadId, graph_id, configurable, ...(checkpoint_id && { checkpoint_id }) },
  );
}

/** For `__end__` the library copies the metadata of the checkpoint before: with its run's id the edit would go when that run is deleted. */
const ofNoRun = { metadata: { run_id: null } };

/** The thread's next epoch, as long as nothing is live on it. */
export function takeIdleThread(pool: pg.Pool, threadId: ThreadId): Promise<Owner> {
  return transaction(pool, (tx) => holdIdleThread(tx, threadId));
}

/** The same in the caller's transaction, until whose end nobody else can write to the thread. */
export async function holdIdleThread(tx: Queryable, threadId: ThreadId): Promise<Owner> {
  if (!(await lockThread(tx, threadId))) throw threadNotFound(threadId);
  const { rows } = await tx.query<{ epoch: string }>({
    name: "take-idle-thread",
    text: `
      update thread_owner
         set epoch = epoch + 1, worker_id = null
       where thread_id = $1
         and not exists (select from runs where thread_id = $1 and status in ('pending', 'running'))
      returning epoch`,
    values: [threadId],
  });
  if (!rows[0]) throw busy(threadId);
  return { thread_id: threadId, epoch: rows[0].epoch };
}

function busy(threadId: ThreadId): PawlError {
  return new PawlError("thread_busy", "Thread is busy: a run is pending or running on it", {
    facts: { thread_id: threadId },
  });
}

/** What the library refuses is the client's mistake, and a lost lease a run that came first; anything else stays what it is. */
export function refusedUpdate(thrown: unknown, threadId: ThreadId): unknown {
  if (isPawlError(thrown, "lease_lost")) return busy(threadId);
  const error = asError(thrown);
  const isRefusal = error.name === "InvalidUpdateError" || error.message.startsWith("Validation failed for field");
  return isRefusal ? new PawlError("invalid_input", error.message, { cause: error }) : thrown;
}
