/** From the id of a graph to the graph itself, for a configuration. */
import { PawlError } from "../../lib/errors.ts";
import type { AnyGraph, Graphs } from "../index.ts";

/** Throws `graph_not_found` (no longer in langgraph.json, or never), `graph_invalid`. */
export async function loadGraph(
  graphs: Graphs,
  graphId: string,
  config: { configurable?: Record<string, unknown> },
): Promise<AnyGraph> {
  const loaded = graphs.get(graphId);
  if (!loaded) throw graphNotFound(graphId);
  return loaded.resolve(config);
}

export function graphNotFound(graphId: string): PawlError {
  return new PawlError("graph_not_found", `Graph "${graphId}" is not in langgraph.json`, {
    facts: { graph_id: graphId },
  });
}
