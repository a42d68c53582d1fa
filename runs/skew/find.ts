/** Whether the loaded graphs can go on from where threads stand. Reads only. */
import type { CheckpointTuple } from "@langchain/langgraph-checkpoint";
import { z } from "zod";
import { HeldSaver } from "../../checkpoints/held-saver.ts";
import { fold, openQuestions, type PendingQuestion, type Tasks } from "../../checkpoints/open-questions.ts";
import { readStandings, type Standing } from "../../checkpoints/read-parked.ts";
import type { Saver } from "../../checkpoints/saver.ts";
import type { Queryable } from "../../db/pool.ts";
import { asError, isPawlError } from "../../lib/errors.ts";
import { offeredTools, toolsOfAgent } from "../../lib/offered-tools.ts";
import type { AnyGraph, Graphs, RunKwargs } from "../index.ts";
import { graphAt } from "../threads/graph.ts";
import { missingParts } from "./compare.ts";
import { lostCalls } from "./lost-calls.ts";
import { graphChanged, type SkewReason } from "./reason.ts";

export interface ParkedThread {
  readonly thread_id: string;
  /** Absent for the newest. */
  readonly checkpoint_id?: string | undefined;
  readonly graph_id: string;
  /** Of the run that would go on; a factory makes the graph for it. */
  readonly configurable: Readonly<Record<string, unknown>>;
}

export interface Build {
  readonly graph: AnyGraph;
  /** See `LoadedGraph`; null if it is not known. */
  readonly hash: string | null;
}

export interface SkewContext {
  readonly saver: Saver;
  /** Where to read: whoever holds a transaction reads in it. */
  readonly db: Queryable;
  /** The loaded graph; undefined when there is none of that id. Throws `graph_invalid`. */
  readonly buildOf: (thread: ParkedThread) => Promise<Build | undefined>;
}

export function buildFrom(graphs: Graphs): SkewContext["buildOf"] {
  return async ({ graph_id, configurable }) => {
    const loaded = graphs.get(graph_id);
    return loaded && { graph: await loaded.resolve({ configurable }), hash: loaded.hash };
  };
}

/**
 * Whether a run goes on from where its thread stands. One with a new input does not: that takes the place of what is
 * pending, so that people can go on whatever has changed.
 */
export function goesOn({ input, command, answers }: Pick<RunKwargs, "input" | "command" | "answers">): boolean {
  return answers !== undefined || command !== undefined || input === undefined || input === null;
}

/** The root checkpoint behind a run's start; undefined if a subgraph's is named and its root is not. */
export function rootOf(checkpoint: RunKwargs["checkpoint"]): { checkpoint_id?: string } | undefined {
  if (!checkpoint) return {};
  if (checkpoint.checkpoint_ns === "") return { checkpoint_id: checkpoint.checkpoint_id };
  const root = checkpoint.checkpoint_map?.[""];
  return typeof root === "string" ? { checkpoint_id: root } : undefined;
}

/** Throws `graph_changed` with the reasons, unless the loaded graph can go on from there. */
export async function refuseChangedGraph(context: SkewContext, thread: ParkedThread): Promise<void> {
  const reasons = (await findSkew(context, [thread])).get(thread.thread_id) ?? [];
  if (reasons.length > 0) throw graphChanged(thread.thread_id, reasons);
}

/** The reasons by thread, of those that have any. */
export async function findSkew(
  context: SkewContext,
  threads: readonly ParkedThread[],
): Promise<Map<string, SkewReason[]>> {
  const standings = await readStandings(context.saver, threads, context.db);
  const found = new Map<string, SkewReason[]>();
  for (const thread of threads) {
    const standing = standings.get(thread.thread_id);
    if (!standing) continue; // no graph has run yet
    const reasons = await reasonsOf(context, thread, standing);
    if (reasons.length > 0) found.set(thread.thread_id, reasons);
  }
  return found;
}

async function reasonsOf(context: SkewContext, thread: ParkedThread, standing: Standing): Promise<SkewReason[]> {
  const { graph_id, configurable } = thread;
  const build = await context.buildOf(thread).catch(asError);
  if (!build) return [{ kind: "graph_gone", graph_id }];
  if (build instanceof Error) return [{ kind: "graph_invalid", message: build.message }];
  const levels = await levelsOf(context.db, { saver: context.saver, ...build, configurable }, standing);
  const questions = questionsOf(standing);
  const lost = questions.flatMap((question) => lostQuestion(question, levels));
  const asked = lost.flatMap((reason) => (reason.kind === "tool_gone" ? [reason.tool] : []));
  const missing = levels.flatMap((level) => level.missing);
  // The call behind a question about its tool is the same loss.
  const others = missing.filter((reason) => reason.kind !== "tool_gone" || !asked.includes(reason.tool));
  const reasons = [...others, ...lost];
  // A thread that is at its end needs nothing; what a key holds counts for who goes on from here.
  const isDue = levels.some(({ tasks }) => tasks.size > 0) || reasons.some(({ kind }) => kind !== "state_key_gone");
  return isDue ? reasons : [];
}

/** A graph and its checkpoint: the outermost one, or a subgraph that was under way. */
interface Level {
  readonly ns: string;
  readonly graph: AnyGraph;
  readonly missing: readonly SkewReason[];
  /** Ids of what the loaded graph would execute next. */
  readonly tasks: ReadonlySet<string>;
}

interface Resolved extends Build {
  readonly saver: Saver;
  readonly configurable: ParkedThread["configurable"];
}

async function levelsOf(db: Queryable, resolved: Resolved, { root, below }: Standing): Promise<Level[]> {
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

function questionsOf({ root, below }: Standing): PendingQuestion[] {
  const tasks = new Map<string, Tasks>();
  for (const [ns, tuple] of [["", root] as const, ...below]) {
    const inNs: Tasks = new Map();
    for (const [taskId, channel, value] of tuple.pendingWrites ?? []) fold(inNs, taskId, [[channel, value]]);
    tasks.set(ns, inNs);
  }
  return openQuestions(tasks);
}

function lostQuestion({ interrupt_id, ns, path, value }: PendingQuestion, levels: readonly Level[]): SkewReason[] {
  const above = levels.filter((level) => level.ns === "" || level.ns === ns);
  const at = ns === "" ? {} : { ns };
  // One that cannot be read says so itself.
  const readable = above.filter(({ missing }) => missing.every(({ kind }) => kind !== "state_unreadable"));
  if (readable.some(({ tasks }) => !path.some((id) => tasks.has(id)))) {
    return [{ kind: "question_gone", interrupt_id, ...at }];
  }
  const asking = above.at(-1)?.graph;
  const offered = asking && (offeredTools(asking) ?? toolsOfAgent(asking.nodes));
  const asked = offered ? toolsOf(value).filter((tool) => !offered.has(tool)) : [];
  return asked.map((tool) => ({ kind: "tool_gone", tool, interrupt_id, ...at }));
}

const Action = z.object({ name: z.string() });
/** As `nodes/review.ts` and LangChain's middleware write them, and as agent-inbox does. */
const Approval = z.object({
  action_requests: z.array(Action).optional(),
  actionRequests: z.array(Action).optional(),
  action_request: z.object({ action: z.string() }).optional(),
});

function toolsOf(value: unknown): string[] {
  const { data } = Approval.safeParse(value);
  const actions = [...(data?.action_requests ?? []), ...(data?.actionRequests ?? [])].map(({ name }) => name);
  return [...new Set([...actions, ...(data?.action_request ? [data.action_request.action] : [])])];
}
