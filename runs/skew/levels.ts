/** What each graph of a thread, the outermost one and the subgraphs that were under way, lacks for its checkpoint. */
import type { CheckpointTuple } from "@langchain/langgraph-checkpoint";
import { HeldSaver } from "../../checkpoints/held-saver.ts";
import type { Standing } from "../../checkpoints/read-parked.ts";
import type { Saver } from "../../checkpoints/saver.ts";
import type { Queryable } from "../../db/pool.ts";
import { asError, isPawlError } from "../../lib/errors.ts";
import type { AnyGraph } from "../index.ts";
import { graphAt } from "../threads/graph.ts";
import { missingParts } from "./compare.ts";
import { lostCalls } from "./lost-calls.ts";
import type { SkewReason } from "./reason.ts";

export interface Build {
  readonly graph: AnyGraph;
  /** See `LoadedGraph`; null if it is not known. */
  readonly hash: string | null;
}

/** A graph and its checkpoint: the outermost one, or a subgraph that was under way. */
export interface Level {
  readonly ns: string;
  readonly graph: AnyGraph;
  readonly missing: readonly SkewReason[];
  /** Ids of what the loaded graph would execute next. */
  readonly tasks: ReadonlySet<string>;
}

interface Resolved extends Build {
  readonly saver: Saver;
  readonly configurable: Readonly<Record<string, unknown>>;
}

/** The outermost first. */
export async function levelsOf(db: Queryable, resolved: Resolved, { root, below }: Standing): Promise<Level[]> {
  const levels = [await levelOf(db, resolved, root)];
  for (const [ns, tuple] of below) {
    // A subgraph that a function calls is not to be found from outside: of that one nothing is known.
    const inner = await graphAt(resolved.graph, ns).catch((error: unknown) => {
      if (isPawlError(error, "checkpoint_not_found")) return undefined;
      throw error;
    });
    if (inner) levels.push(await levelOf(db, { ...resolved, graph: inner }, tuple));
  }
  return levels;
}

async function levelOf(
  db: Queryable,
  { saver, graph, hash, configurable }: Resolved,
  tuple: CheckpointTuple,
): Promise<Level> {
  const { thread_id, checkpoint_ns: ns } = tuple.config.configurable as { thread_id: string; checkpoint_ns: string };
  const missing = missingParts(graph, tuple).filter(({ kind }) => kind !== "state_key_gone" || isOfOneTask(ns));
  const place = {
    ...configurable,
    thread_id,
    checkpoint_ns: ns,
    __pregel_checkpointer: new HeldSaver(db, tuple, saver),
  };
  const at = ns === "" ? {} : { ns };
  try {
    const { tasks } = await graph.getState({ configurable: place });
    const lost = lostCalls({ graph, hash, tuple, due: tasks.map(({ name }) => name) });
    return {
      ns,
      graph,
      missing: [...missing, ...lost].map((reason) => ({ ...reason, ...at })),
      tasks: new Set(tasks.map(({ id }) => id)),
    };
  } catch (thrown) {
    const unreadable: SkewReason = { kind: "state_unreadable", message: asError(thrown).message, ...at };
    return { ns, graph, missing: [...missing.map((reason) => ({ ...reason, ...at })), unreadable], tasks: new Set() };
  }
}

/** A subgraph with a memory of its own keeps channels that builds before have dropped, and does not say which. */
function isOfOneTask(ns: string): boolean {
  return ns.split("|").every((segment) => segment === "" || segment.includes(":") || /^\d+$/.test(segment));
}
