/** Threads and small graphs for tests of what is kept of them. */
import { randomUUID } from "node:crypto";
import { Annotation, interrupt, StateGraph } from "@langchain/langgraph";
import { emptyCheckpoint, uuid6 } from "@langchain/langgraph-checkpoint";
import type pg from "pg";
import { FencedSaver } from "../../checkpoints/fenced-saver.ts";
import { QuestionTracker } from "../../checkpoints/question-tracker.ts";
import type { Saver } from "../../checkpoints/saver.ts";
import type { Owner } from "../../db/fence.ts";
import type { AnyGraph } from "../../runs/index.ts";

/** A thread that is owned under epoch 1. */
export async function newThread(pool: pg.Pool): Promise<Owner> {
  const thread_id = randomUUID();
  await pool.query("insert into threads (thread_id) values ($1)", [thread_id]);
  await pool.query("insert into thread_owner (thread_id, epoch) values ($1, 1)", [thread_id]);
  return { thread_id, epoch: "1" };
}

/** What a run passes to its graph. */
export function runOn(pool: pg.Pool, owner: Owner, runId: string = randomUUID()) {
  const tracker = new QuestionTracker();
  const saver = new FencedSaver(pool, owner, { tracker });
  const config = {
    configurable: { thread_id: owner.thread_id, run_id: runId, __pregel_checkpointer: saver },
    durability: "sync" as const,
  };
  return { tracker, saver, config, runId };
}

/** Puts a checkpoint with one list. */
export async function putList(saver: Saver, config: { configurable: object }, list: readonly unknown[]) {
  const version = saver.getNextVersion(undefined);
  const checkpoint = {
    ...emptyCheckpoint(),
    id: uuid6(0),
    channel_values: { list },
    channel_versions: { list: version },
  };
  return saver.put(config, checkpoint, { source: "loop", step: 1, parents: {} }, { list: version });
}

export async function count(pool: pg.Pool, table: string, threadId: string): Promise<number> {
  const { rows } = await pool.query<{ n: number }>(`select count(*)::int as n from ${table} where thread_id = $1`, [
    threadId,
  ]);
  return rows[0]?.n ?? 0;
}

/** Connections that wait for a lock. */
export async function lockWaiters(pool: pg.Pool): Promise<number> {
  const { rowCount } = await pool.query(
    "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
  );
  return rowCount ?? 0;
}

export async function gather<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

export const State = Annotation.Root({
  said: Annotation<unknown[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});

/** One node that asks `questions` one after the other. */
export function asking(...questions: string[]) {
  return new StateGraph(State)
    .addNode("ask", () => ({ said: questions.map((question) => interrupt(question)) }))
    .addEdge("__start__", "ask")
    .compile();
}

/** Two nodes that ask at the same time. */
export function askingTwice() {
  return new StateGraph(State)
    .addNode("left", () => ({ said: [interrupt("left?")] }))
    .addNode("right", () => ({ said: [interrupt("right?")] }))
    .addEdge("__start__", "left")
    .addEdge("__start__", "right")
    .compile();
}

/** A graph as a node of another one. */
export function nested(child: AnyGraph) {
  return new StateGraph(State)
    .addNode("child", child as ReturnType<typeof asking>)
    .addEdge("__start__", "child")
    .compile();
}

/** Says one word a step. */
export function saying(...words: string[]) {
  return new StateGraph(State)
    .addNode("say", ({ said }) => ({ said: [words[said.length]] }))
    .addEdge("__start__", "say")
    .addConditionalEdges("say", ({ said }) => (said.length < words.length ? "say" : "__end__"))
    .compile();
}
