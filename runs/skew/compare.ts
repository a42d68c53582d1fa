/**
 * What one checkpoint needs of a graph, and the graph does not have.
 *
 * A graph drops without a word what it does not know: the value of a channel, a `Send` to a node, an edge. So each is
 * looked for by name. What an earlier build has left behind already (`left_behind`, see the saver) is nobody's loss now.
 */
import type { CheckpointTuple } from "@langchain/langgraph-checkpoint";
import { z } from "zod";
import type { AnyGraph } from "../index.ts";
import type { SkewReason } from "./reason.ts";

const TO_NODE = "branch:to:";
const JOIN = "join:";
const SENDS = "__pregel_tasks";
/** The state of a graph whose schema is no object. */
const ROOT = "__root__";

const Sent = z.object({ node: z.string() });
const LeftBehind = z.array(z.string()).catch([]);

/** Of the graph whose checkpoint it is, which may be a subgraph. In the order in which they were found, each once. */
export function missingParts({ nodes, channels }: AnyGraph, tuple: CheckpointTuple): SkewReason[] {
  const leftBehind = LeftBehind.parse((tuple.metadata as { left_behind?: unknown } | undefined)?.left_behind);
  const held = Object.entries(tuple.checkpoint.channel_values).filter(
    ([channel]) => !leftBehind.includes(channel) && !(channel === SENDS && isNewInput(tuple)),
  );
  const written = (tuple.pendingWrites ?? []).map(([, channel, value]) => [channel, value] as const);
  const reasons = [...held, ...written].flatMap(([channel, value]) => lost({ nodes, channels }, channel, value));
  return [...new Map(reasons.map((reason) => [JSON.stringify(reason), reason])).values()];
}

/**
 * Whether the checkpoint is that of a subgraph with a new input. What had been sent to nodes before is not due any more,
 * but may still be there. For the outermost graph `left_behind` (see the saver) says so: its input may be a command, which
 * leaves what is due as it is.
 */
function isNewInput({ config, metadata }: CheckpointTuple): boolean {
  return metadata?.source === "input" && Boolean(config.configurable?.["checkpoint_ns"]);
}

function lost(
  { nodes, channels }: Pick<AnyGraph, "nodes" | "channels">,
  channel: string,
  value: unknown,
): SkewReason[] {
  if (channel === SENDS) {
    const sent = [value].flat().flatMap((send) => Sent.safeParse(send).data ?? []);
    return sent.filter(({ node }) => !(node in nodes)).map(({ node }) => ({ kind: "node_gone", node }));
  }
  if (channel in channels || (channel.startsWith("__") && channel !== ROOT)) return [];
  if (channel.startsWith(TO_NODE)) return gone(channel.slice(TO_NODE.length), channel, nodes);
  if (isEmpty(value)) return [];
  if (channel.startsWith(JOIN)) return gone(channel.slice(channel.lastIndexOf(":") + 1), channel, nodes);
  return [{ kind: "state_key_gone", key: channel }];
}

function gone(node: string, edge: string, nodes: AnyGraph["nodes"]): SkewReason[] {
  return node in nodes ? [{ kind: "edge_gone", edge }] : [{ kind: "node_gone", node }];
}

/** A join that waits for all again is an empty list; of a state key that holds nothing, nothing is lost. */
function isEmpty(value: unknown): boolean {
  if (value === null || value === undefined || value === "") return true;
  return typeof value === "object" && !(value instanceof Date) && Object.keys(value).length === 0 && !hasSize(value);
}

function hasSize(value: object): boolean {
  return (value instanceof Map || value instanceof Set) && value.size > 0;
}
