/** Why the loaded graph cannot go on from a checkpoint that another build has written. */
import { PawlError } from "../../lib/errors.ts";

/** `ns`: of the subgraph whose checkpoint it is; absent for the outermost graph. */
export type SkewReason = (
  | { readonly kind: "graph_gone"; readonly graph_id: string }
  | { readonly kind: "graph_invalid"; readonly message: string }
  /** A task that is due, or an edge that is, leads to the node. */
  | { readonly kind: "node_gone"; readonly node: string }
  /** The node is there and waits for others differently: those that have arrived would not count. */
  | { readonly kind: "edge_gone"; readonly edge: string }
  /** The key holds something, and would silently be dropped. */
  | { readonly kind: "state_key_gone"; readonly key: string }
  | { readonly kind: "state_unreadable"; readonly message: string }
  /** The graph does not lead to the task that asks, so the answer would reach nobody. */
  | { readonly kind: "question_gone"; readonly interrupt_id: string }
  /** The question is about a call of a tool that the graph does not offer, or the call is due. */
  | { readonly kind: "tool_gone"; readonly tool: string; readonly interrupt_id: string }
  | { readonly kind: "tool_gone"; readonly tool: string; readonly tool_call_id: string }
) & { readonly ns?: string };

export function describeReason(reason: SkewReason): string {
  const where = reason.ns === undefined ? "" : ` (in the subgraph ${reason.ns.split(":")[0]})`;
  return `${sentence(reason)}${where}`;
}

function sentence(reason: SkewReason): string {
  switch (reason.kind) {
    case "graph_gone":
      return `the graph "${reason.graph_id}" is not in langgraph.json`;
    case "graph_invalid":
      return reason.message;
    case "node_gone":
      return `the node "${reason.node}" is due, and is gone`;
    case "edge_gone":
      return `the edge "${reason.edge}" is half-way, and is gone`;
    case "state_key_gone":
      return `the state key "${reason.key}" has a value, and is gone`;
    case "state_unreadable":
      return `the state cannot be read: ${reason.message}`;
    case "question_gone":
      return `the task that asked question ${reason.interrupt_id} is gone`;
    case "tool_gone":
      return "interrupt_id" in reason
        ? `question ${reason.interrupt_id} is about the tool "${reason.tool}", which is gone`
        : `the call ${reason.tool_call_id} of the tool "${reason.tool}" is due, and the tool is gone`;
  }
}

export function graphChanged(threadId: string, reasons: readonly SkewReason[]): PawlError {
  const why = reasons.map(describeReason).join("; ");
  return new PawlError("graph_changed", `The loaded graph cannot go on from where the thread stands: ${why}`, {
    facts: { thread_id: threadId, reasons },
  });
}
