/** The graph that a thread's state belongs to, and where in it a client points. */
import type { RunnableConfig } from "@langchain/core/runnables";
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import type { z } from "zod";
import type { Queryable } from "../../db/pool.ts";
import { PawlError } from "../../lib/errors.ts";
import type { ThreadId } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import { loadGraph } from "../assistants/load-graph.ts";
import type { AnyGraph, CheckpointRef, Graphs } from "../index.ts";
import { threadNotFound } from "./get.ts";

/** A checkpoint as clients name it; the newest one of the outermost graph where nothing is said. */
export type CheckpointAt = z.infer<typeof CheckpointRef>;

export interface ThreadGraph {
  readonly graph_id: string;
  readonly graph: AnyGraph;
  /** See `LoadedGraph`. */
  readonly hash: string | null;
  /** The `configurable` that the thread's runs had. */
  readonly configurable: Readonly<Record<string, unknown>>;
}

/**
 * Undefined for a thread on which no graph has run yet. Throws `thread_not_found`, `graph_not_found` (the graph is no
 * longer in langgraph.json), `graph_invalid`.
 */
export async function graphOfThread(
  { db, graphs }: { db: Queryable; graphs: Graphs },
  principal: Principal,
  threadId: ThreadId,
): Promise<ThreadGraph | undefined> {
  const { rows } = await db.query<{ graph_id: string | null; configurable: Record<string, unknown> | null }>({
    name: "graph-of-thread",
    text: `
      select graph_id, config -> 'configurable' as configurable from threads where tenant = $1 and thread_id = $2`,
    values: [principal.tenant, threadId],
  });
  const [thread] = rows;
  if (!thread) throw threadNotFound(threadId);
  if (thread.graph_id === null) return undefined;
  const configurable = thread.configurable ?? {};
  const { graph_id } = thread;
  const graph = await loadGraph(graphs, graph_id, { configurable });
  return { graph_id, graph, hash: graphs.get(graph_id)?.hash ?? null, configurable };
}

interface Place {
  readonly threadId: ThreadId;
  readonly checkpoint?: CheckpointAt | null | undefined;
  readonly configurable: Readonly<Record<string, unknown>>;
}

/** The library's config for a place on a thread. The saver travels in it, since the graph is shared and has none. */
export function configAt({ threadId, checkpoint, configurable }: Place, saver: BaseCheckpointSaver): RunnableConfig {
  const { checkpoint_id, checkpoint_ns, checkpoint_map } = checkpoint ?? {};
  return {
    configurable: {
      ...configurable,
      thread_id: threadId,
      checkpoint_ns: checkpoint_ns ?? "",
      ...(checkpoint_id && { checkpoint_id }),
      ...(checkpoint_map && { checkpoint_map }),
      __pregel_checkpointer: saver,
    },
  };
}

/**
 * The graph whose checkpoints have the namespace. The library finds it itself only for a graph that has a saver of its
 * own; with one in the config it would read a subgraph's checkpoints with the channels of the outermost graph.
 */
export async function graphAt(graph: AnyGraph, namespace: string | null | undefined): Promise<AnyGraph> {
  if (!namespace) return graph;
  const path = pathOf(namespace);
  for await (const [name, subgraph] of graph.getSubgraphsAsync(path, true)) {
    if (name === path) return subgraph as AnyGraph;
  }
  const facts = { checkpoint_ns: namespace };
  throw new PawlError("checkpoint_not_found", `The graph has no subgraph at "${namespace}"`, { facts });
}

/** Node names without the ids of their tasks: `outer:3f2a|0|inner:77bc` is `outer|inner`. */
function pathOf(namespace: string): string {
  const parts = namespace.split("|").filter((part) => !/^\d+$/.test(part));
  return parts.map((part) => part.split(":")[0]).join("|");
}
