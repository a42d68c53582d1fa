/**
 * The graphs of a project. An export may be a compiled graph, a builder that is yet to be compiled, an agent that wraps
 * a graph, or a function that makes one of these for each configuration. None of them is ever changed.
 */
import { existsSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { extname } from "node:path";
import { pathToFileURL } from "node:url";
import { Pregel } from "@langchain/langgraph/pregel";
import { asError, PawlError } from "../lib/errors.ts";
import type { AnyGraph, Graphs, LoadedGraph } from "../runs/index.ts";
import { graphHash } from "./graph-hash.ts";
import type { GraphSource } from "./project.ts";

type Resolve = LoadedGraph["resolve"];

const extensions = new Set([".ts", ".mts", ".js", ".mjs"]);
/** Packages of which a process may have one copy only: they know their objects by class. */
const singletons = ["@langchain/langgraph", "@langchain/core"];

const requireFromHere = createRequire(import.meta.url);
const versions = singletons.map((name) => `${name}@${String(requireFromHere(`${name}/package.json`).version)}`);

/** Throws `bad_configuration` that names the graph, the file and the export. */
export async function loadGraphs(sources: readonly GraphSource[]): Promise<Graphs> {
  const graphs = new Map<string, LoadedGraph>();
  for (const source of sources) graphs.set(source.graphId, await loadGraph(source));
  return graphs;
}

async function loadGraph(source: GraphSource): Promise<LoadedGraph> {
  const { graphId, file, description } = source;
  if (!existsSync(file)) throw unusable(source, "the file does not exist");
  if (!extensions.has(extname(file))) throw unusable(source, `it must be one of ${[...extensions].join(" ")}`);
  for (const name of singletons) refuseSecondCopy(source, name);
  const exported = await readExport(source);
  return {
    graph_id: graphId,
    hash: graphHash(file, versions),
    ...(description !== undefined && { description }),
    resolve: resolverOf(source, exported),
  };
}

async function readExport(source: GraphSource): Promise<unknown> {
  let module: Record<string, unknown>;
  try {
    module = (await import(pathToFileURL(source.file).href)) as Record<string, unknown>;
  } catch (cause) {
    throw unusable(source, `loading it failed: ${asError(cause).message}`, cause);
  }
  if (!(source.exportName in module)) {
    throw unusable(source, `it exports ${Object.keys(module).join(", ") || "nothing"}`);
  }
  return module[source.exportName];
}

function resolverOf(source: GraphSource, exported: unknown): Resolve {
  if (typeof exported !== "function") {
    const graph = graphFrom(source, exported);
    return async () => graph;
  }
  return async (config) => {
    try {
      return graphFrom(source, await (exported as (config: unknown) => unknown)(config));
    } catch (cause) {
      throw new PawlError(
        "graph_invalid",
        `The factory of graph "${source.graphId}" failed: ${asError(cause).message}`,
        {
          cause,
        },
      );
    }
  };
}

type AnyPregel = Pick<InstanceType<typeof Pregel>, "checkpointer">;

interface Parts {
  readonly lg_is_pregel?: unknown;
  readonly compile?: () => unknown;
  readonly graph?: unknown;
}

function graphFrom(source: GraphSource, value: unknown): AnyGraph {
  if (value instanceof Pregel) return durable(source, value);
  const parts: Parts = typeof value === "object" && value !== null ? value : {};
  if (parts.lg_is_pregel === true) throw unusable(source, `it is a graph of another copy or kind. ${ours()}`);
  if (typeof parts.compile === "function") return graphFrom(source, parts.compile());
  if (parts.graph !== undefined && parts.graph !== value) return graphFrom(source, parts.graph);
  throw unusable(source, "it is no compiled graph, no builder with compile(), no agent and no function that makes one");
}

/** The checkpointer of a run comes with its config, unless the graph was compiled never to take one. */
function durable(source: GraphSource, graph: AnyPregel): AnyGraph {
  const { checkpointer } = graph;
  if (typeof checkpointer !== "boolean") return graph as unknown as AnyGraph;
  throw unusable(source, `it was compiled with checkpointer: ${checkpointer}; leave the checkpointer to the server`);
}

function ours(): string {
  return `Pawl uses ${folderOf(requireFromHere, singletons[0]!) ?? singletons[0]}`;
}

function refuseSecondCopy(source: GraphSource, name: string): void {
  const theirs = folderOf(createRequire(source.file), name);
  const own = folderOf(requireFromHere, name);
  if (theirs === undefined || theirs === own) return;
  throw unusable(source, `there are two copies of ${name}, ${theirs} and ${own}; install Pawl beside the graphs`);
}

function folderOf(require: NodeJS.Require, name: string): string | undefined {
  try {
    return realpathSync(require.resolve(`${name}/package.json`)).replace(/[/\\]package\.json$/, "");
  } catch {
    return undefined; // not installed where the graph is: then it has no copy of its own
  }
}

function unusable({ graphId, file, exportName }: GraphSource, reason: string, cause?: unknown): PawlError {
  return new PawlError("bad_configuration", `Graph "${graphId}", export ${exportName} of ${file}: ${reason}`, {
    cause,
  });
}
