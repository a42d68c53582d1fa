/**
 * Which tools a graph offers, for a host that wants to know whether the tool of a pending call still exists. On the graph
 * itself, under a registered symbol: a graph file needs no import of ours to set it, and copies of this module agree.
 * Of LangChain's own nodes for tools it is known without.
 */
const TOOLS = Symbol.for("pawl.tools");

interface Named {
  readonly name: string;
}

/** Marks `graph` and returns it. Comes last: `withConfig` makes another graph. */
export function offeringTools<G extends object>(graph: G, tools: readonly Named[]): G {
  return Object.assign(graph, { [TOOLS]: tools.map(({ name }) => name) });
}

/** Undefined for a graph that does not say: then nothing is known about any tool. */
export function offeredTools(graph: object): ReadonlySet<string> | undefined {
  const names = (graph as { [TOOLS]?: unknown })[TOOLS];
  return Array.isArray(names) ? new Set(names.filter((name) => typeof name === "string")) : undefined;
}

/** A `ToolNode` of `@langchain/langgraph` or `langchain`, which may both be there, and in several copies. */
interface ToolNodeLike {
  readonly tools: readonly Named[];
  readonly handleToolErrors: unknown;
  /** Middleware that may execute what is not in the list. */
  readonly wrapToolCall?: unknown;
}

/** What a compiled graph's node can execute; undefined for one that is no `ToolNode`, or that a middleware extends. */
export function toolsOfNode(node: { readonly bound?: unknown } | undefined): ReadonlySet<string> | undefined {
  const bound = node?.bound;
  if (!isToolNode(bound) || bound.wrapToolCall !== undefined) return undefined;
  return new Set(bound.tools.map(({ name }) => name));
}

/** The same for an agent of `createAgent`, in which one node executes all tools. */
export function toolsOfAgent(nodes: Readonly<Record<string, { readonly bound?: unknown }>>) {
  return "model_request" in nodes ? toolsOfNode(nodes["tools"]) : undefined;
}

function isToolNode(bound: unknown): bound is ToolNodeLike {
  if (typeof bound !== "object" || bound === null || !("handleToolErrors" in bound)) return false;
  return "tools" in bound && Array.isArray(bound.tools);
}
