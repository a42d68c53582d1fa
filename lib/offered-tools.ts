/**
 * Which tools a graph offers, for a host that wants to know whether the tool of a pending approval still exists. On the
 * graph itself, under a registered symbol: a graph file needs no import of ours to set it, and copies of this module agree.
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
