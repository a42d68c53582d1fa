/** How a graph looks: its nodes and edges, and the schemas of its subgraphs. */
import type { AnyGraph } from "../index.ts";
import { type GraphSchemas, schemasOf } from "./schemas.ts";

/** `{nodes, edges}`, as the library draws them. */
export type Drawing = Readonly<Record<string, unknown>>;

/** Both names of each schema: the dev server uses the short ones, the platform's the long ones. */
export type SubgraphSchemas = GraphSchemas &
  Readonly<Record<"input" | "output" | "state" | "config" | "context", GraphSchemas[keyof GraphSchemas]>>;

/** `xray`: whether subgraphs are drawn, or how many levels of them. */
export async function draw(graph: AnyGraph, xray: boolean | number): Promise<Drawing> {
  // The library reads `xray` from the config; its type does not say so.
  const drawing = await graph.getGraphAsync({ xray } as Parameters<AnyGraph["getGraphAsync"]>[0]);
  return drawing.toJSON();
}

/** By the subgraph's path of node names, joined with `|`. `namespace` asks for one, `recurse` for those inside too. */
export async function subgraphSchemas(
  graph: AnyGraph,
  { namespace, recurse }: { namespace?: string | undefined; recurse: boolean },
): Promise<Record<string, SubgraphSchemas>> {
  const found: Record<string, SubgraphSchemas> = {};
  for await (const [name, subgraph] of graph.getSubgraphsAsync(namespace, recurse)) {
    const schemas = schemasOf(subgraph);
    found[name] = {
      ...schemas,
      input: schemas.input_schema,
      output: schemas.output_schema,
      state: schemas.state_schema,
      config: schemas.config_schema,
      context: schemas.context_schema,
    };
  }
  return found;
}
