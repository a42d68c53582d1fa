/** Whether the loaded graphs can go on from where threads stand. Reads only. */
import { readStandings, type Standing } from "../../checkpoints/read-parked.ts";
import type { Saver } from "../../checkpoints/saver.ts";
import type { Queryable } from "../../db/pool.ts";
import { asError } from "../../lib/errors.ts";
import type { Graphs } from "../index.ts";
import { type Build, levelsOf } from "./levels.ts";
import { lostQuestions } from "./lost-questions.ts";
import { graphChanged, type SkewReason } from "./reason.ts";

export interface ParkedThread {
  readonly thread_id: string;
  /** Absent for the newest. */
  readonly checkpoint_id?: string | undefined;
  readonly graph_id: string;
  /** Of the run that would go on; a factory makes the graph for it. */
  readonly configurable: Readonly<Record<string, unknown>>;
}

interface SkewContext {
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
  const lost = lostQuestions(standing, levels);
  const asked = lost.flatMap((reason) => (reason.kind === "tool_gone" ? [reason.tool] : []));
  const missing = levels.flatMap((level) => level.missing);
  // The call behind a question about its tool is the same loss.
  const others = missing.filter((reason) => reason.kind !== "tool_gone" || !asked.includes(reason.tool));
  const reasons = [...others, ...lost];
  // A thread that is at its end needs nothing; what a key holds counts for who goes on from here.
  const isDue = levels.some(({ tasks }) => tasks.size > 0) || reasons.some(({ kind }) => kind !== "state_key_gone");
  return isDue ? reasons : [];
}
