/**
 * A view of a graph for reading snapshots. The graph is shared and has no saver; the library takes one from the config,
 * except for the values of a `DeltaChannel`, which it reads through the graph's own, and leaves out if there is none.
 */
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import type { AnyGraph } from "./index.ts";

/** The graph itself stays as it is. */
export function withSaver(graph: AnyGraph, saver: BaseCheckpointSaver): AnyGraph {
  return Object.create(graph, {
    checkpointer: { value: saver },
    getSubgraphsAsync: {
      async *value(...args: Parameters<AnyGraph["getSubgraphsAsync"]>) {
        for await (const [name, subgraph] of graph.getSubgraphsAsync(...args)) {
          yield [name, withSaver(subgraph as AnyGraph, saver)];
        }
      },
    },
  }) as AnyGraph;
}
