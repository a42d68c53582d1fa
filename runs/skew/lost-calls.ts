/**
 * Tool calls that a checkpoint waits to make, and that the loaded graph has no tool for. The node would tell the model
 * that there is no such tool, and the thread would go on without what a person agreed to.
 *
 * A model also asks for tools that never were, and a thread must not hang on that. So a call counts only if there was a
 * tool for it: somebody approved it, or it is another build that the checkpoint comes from.
 */
import { AIMessage, type BaseMessage, ToolMessage } from "@langchain/core/messages";
import type { CheckpointTuple } from "@langchain/langgraph-checkpoint";
import { z } from "zod";
import { offeredTools, toolsOfNode } from "../../lib/offered-tools.ts";
import type { AnyGraph } from "../index.ts";
import type { SkewReason } from "./reason.ts";

interface DueStep {
  readonly graph: AnyGraph;
  /** Of the loaded graph; null if it is not known. */
  readonly hash: string | null;
  readonly tuple: CheckpointTuple;
  /** Nodes that the graph would execute next. */
  readonly due: readonly string[];
}

interface Call {
  readonly id?: string | undefined;
  readonly name: string;
}

export function lostCalls({ graph, hash, tuple, due }: DueStep): SkewReason[] {
  const known = offeredTools(graph) ?? toolsAt(graph, due);
  if (!known || due.length === 0) return [];
  const isOfOther = isOfAnotherBuild(tuple, hash);
  const lost = waitingCalls(tuple).filter(({ name, id }) => {
    if (known.has(name)) return false;
    const verdicts = verdictsOn(tuple, id);
    return (
      verdicts.some((verdict) => verdict === "approved" || verdict === "edited") || (isOfOther && verdicts.length === 0)
    );
  });
  return lost.map(({ name, id }) => ({ kind: "tool_gone", tool: name, tool_call_id: id ?? "" }));
}

/** What the due nodes can execute, of a graph that does not say what it offers; undefined if one of them may execute anything. */
function toolsAt(graph: AnyGraph, due: readonly string[]): ReadonlySet<string> | undefined {
  const sets = due.map((node) => toolsOfNode(graph.nodes[node as "__start__"]));
  return sets.includes(undefined) ? undefined : new Set(sets.flatMap((tools) => [...(tools ?? [])]));
}

const SENDS = "__pregel_tasks";
/** As LangChain's agents send one call to a task of its own. */
const SentCall = z.object({ args: z.object({ lg_tool_call: z.object({ id: z.string() }) }) });

/** Those of the newest message that nothing has answered; of them, those that were sent, if any were sent one by one. */
function waitingCalls({ checkpoint, pendingWrites = [] }: CheckpointTuple): Call[] {
  const { [SENDS]: sends, ...channels } = checkpoint.channel_values;
  const sent = [sends].flat().flatMap((send) => SentCall.safeParse(send).data?.args.lg_tool_call.id ?? []);
  const answered = answeredIn(pendingWrites.flatMap(([, , value]) => [value].flat()));
  return Object.values(channels)
    .flatMap(callsOf)
    .filter(({ id = "" }) => !answered.has(id) && (sent.length === 0 || sent.includes(id)));
}

/** The calls of a list of messages that nothing but answers to some of them stands behind. */
function callsOf(value: unknown): Call[] {
  if (!Array.isArray(value)) return [];
  const messages = value as readonly BaseMessage[];
  const newest = messages.findLastIndex((message) => !ToolMessage.isInstance(message));
  const asking = messages[newest];
  if (!AIMessage.isInstance(asking)) return [];
  const answered = answeredIn(messages.slice(newest + 1));
  return (asking.tool_calls ?? []).filter(({ id = "" }) => !answered.has(id));
}

function answeredIn(values: readonly unknown[]): ReadonlySet<string> {
  return new Set(values.flatMap((value) => (ToolMessage.isInstance(value) ? [value.tool_call_id] : [])));
}

/** False where either is not known: an edit of the state says nothing of a build. */
function isOfAnotherBuild({ metadata }: CheckpointTuple, hash: string | null): boolean {
  const { graph_hash } = (metadata ?? {}) as { graph_hash?: unknown };
  return hash !== null && typeof graph_hash === "string" && graph_hash !== hash;
}

/** As `nodes/approval.ts` writes them, by the id of the call. */
const Reviews = z.record(z.string(), z.object({ verdict: z.string() })).catch({});

function verdictsOn({ checkpoint, pendingWrites = [] }: CheckpointTuple, callId = ""): string[] {
  const written = pendingWrites.flatMap(([, channel, value]) => (channel === "reviews" ? [value] : []));
  const reviews = [checkpoint.channel_values["reviews"], ...written];
  return reviews.flatMap((value) => Reviews.parse(value)[callId]?.verdict ?? []);
}
