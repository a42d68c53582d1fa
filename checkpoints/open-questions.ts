/**
 * The questions (interrupts) that a thread waits for.
 *
 * A snapshot of the graph is not enough to know them: after a partial answer it still lists the answered task's
 * interrupt, and of several questions that wait inside one subgraph it lists one. The pending writes know: a question
 * is open while its task has an interrupt, no result, and no answer newer than the interrupt.
 *
 * The library gives all questions of a task one id. A public id is made of it and of the question's ordinal, so that a
 * late second click on question one does not answer question two.
 */
import { createHash } from "node:crypto";
import type { PendingWrite } from "@langchain/langgraph-checkpoint";
import { z } from "zod";

export interface PendingQuestion {
  /** For clients: 32 hexadecimal digits, another one for each question. */
  readonly interrupt_id: string;
  /** For the library: what an answer is addressed to. */
  readonly task_interrupt_id: string;
  /** How many answers the task had before this question. */
  readonly ordinal: number;
  /** The task of the outermost graph under which the question waits. */
  readonly task_id: string;
  /** The tasks from the outermost graph's down to the one that asks. */
  readonly path: readonly string[];
  /** Namespace of the graph that asks; empty for the outermost one. */
  readonly ns: string;
  readonly value: unknown;
  /** JSON Schema of the answer, if the graph gave one. */
  readonly response_schema?: unknown;
}

/** The library's id for the first question of a task, and another digest for each later one. */
function publicInterruptId(taskInterruptId: string, ordinal: number): string {
  if (ordinal === 0) return taskInterruptId;
  return createHash("sha256").update(`${taskInterruptId}/${ordinal}`).digest("hex").slice(0, 32);
}

const StoredInterrupt = z.object({
  id: z.string(),
  value: z.unknown().optional(),
  response_schema: z.unknown().optional(),
  /** Written by our saver only. */
  ordinal: z.number().int().optional(),
});
type StoredInterrupt = z.infer<typeof StoredInterrupt>;

/** What the pending writes of one checkpoint say about a task. */
interface Task {
  interrupts: StoredInterrupt[];
  answers: number;
  finished: boolean;
}

export type Tasks = Map<string, Task>;

const INTERRUPT = "__interrupt__";
const RESUME = "__resume__";
/** Channels whose writes do not mean that the task has a result. */
const SPECIAL = new Set([INTERRUPT, RESUME, "__error__", "__scheduled__", "__error_source_node__"]);

/**
 * Adds to each interrupt how many answers its task has in the same batch. The batch of a task that asks holds all its
 * answers so far; later it may get an answer and fail, which looks like a question that was asked and not answered.
 */
export function withOrdinal(writes: readonly PendingWrite[]): PendingWrite[] {
  if (!writes.some(([channel]) => channel === INTERRUPT)) return [...writes];
  const ordinal = answersIn(writes) ?? 0;
  return writes.map(([channel, value]): PendingWrite => {
    const interrupt = channel === INTERRUPT ? StoredInterrupt.safeParse(value) : undefined;
    return interrupt?.success ? [channel, { ...interrupt.data, ordinal }] : [channel, value];
  });
}

/** Takes a batch of a task's writes into `tasks`, as the tables do: special writes replace earlier ones. */
export function fold(tasks: Tasks, taskId: string, writes: readonly PendingWrite[]): void {
  const task = tasks.get(taskId) ?? { interrupts: [], answers: 0, finished: false };
  const answers = answersIn(writes);
  if (answers !== undefined) task.answers = answers;
  const interrupts = writes
    .filter(([channel]) => channel === INTERRUPT)
    .map(([, value]) => StoredInterrupt.safeParse(value));
  if (interrupts.length > 0) {
    task.interrupts = interrupts.flatMap(({ data }) => data ?? []);
  }
  if (writes.some(([channel]) => !SPECIAL.has(channel))) task.finished = true;
  tasks.set(taskId, task);
}

/**
 * What is open in the graph of namespace `base` and in those below it, in a stable order.
 *
 * An interrupt of a subgraph is recorded once more by each task above it, under the same id. The one that asks is the
 * deepest. A function called with `task()` shares a namespace with its node, where nothing tells the two apart:
 * they count as one, and so do their answers.
 */
export function openQuestions(tasks: ReadonlyMap<string, Tasks>, base = ""): PendingQuestion[] {
  const asked = [...tasks].flatMap(([ns, inNs]) =>
    [...inNs].flatMap(([taskId, task]) =>
      task.finished ? [] : task.interrupts.map((interrupt) => ({ ns, taskId, task, interrupt })),
    ),
  );
  return [...Map.groupBy(asked, ({ interrupt }) => interrupt.id).values()]
    .flatMap((holders): PendingQuestion[] => {
      const depth = Math.max(...holders.map(({ ns }) => depthOf(ns)));
      const askers = holders.filter(({ ns }) => depthOf(ns) === depth).toSorted((a, b) => compare(a.taskId, b.taskId));
      const [first] = askers;
      const above = first && pathTo(first.ns, first.interrupt.id, { tasks, base });
      if (!first || !above) return [];
      if (askers.some(({ task, interrupt }) => task.answers > (interrupt.ordinal ?? task.answers))) return [];
      const { id, value, response_schema } = first.interrupt;
      const path = [...above, ...askers.map(({ taskId }) => taskId)];
      const ordinal = askers.reduce((sum, { task }) => sum + task.answers, 0);
      return [
        {
          interrupt_id: publicInterruptId(id, ordinal),
          task_interrupt_id: id,
          ordinal,
          task_id: path[0] ?? first.taskId,
          path,
          ns: first.ns,
          value,
          ...(response_schema !== undefined && { response_schema }),
        },
      ];
    })
    .toSorted((a, b) => compare(a.path.join(), b.path.join()));
}

/** As the library compares ids: by their units, not by the rules of a language. */
export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The tasks that lead from `base` down to namespace `ns`; undefined when one of them does not wait any more. */
function pathTo(
  ns: string,
  id: string,
  { tasks, base }: { tasks: ReadonlyMap<string, Tasks>; base: string },
): string[] | undefined {
  const path: string[] = [];
  let above = base;
  for (const segment of ns.slice(base === "" ? 0 : base.length + 1).split("|")) {
    // A number tells apart the graphs that one task calls.
    if (segment !== "" && !/^\d+$/.test(segment)) {
      const waiting = [...(tasks.get(above) ?? [])].filter(([, task]) => !task.finished && task.interrupts.length > 0);
      // The namespace of a graph with a memory of its own (`checkpointer: true`) does not name the task.
      const caller = segment.includes(":")
        ? waiting.find(([taskId]) => segment.endsWith(`:${taskId}`))
        : (waiting.find(([, task]) => task.interrupts.some((interrupt) => interrupt.id === id)) ?? waiting[0]);
      if (!caller) return undefined;
      path.push(caller[0]);
    }
    above = above === "" ? segment : `${above}|${segment}`;
  }
  return path;
}

function depthOf(ns: string): number {
  return ns === "" ? 0 : ns.split("|").length;
}

function answersIn(writes: readonly PendingWrite[]): number | undefined {
  const resumes = writes.filter(([channel]) => channel === RESUME);
  if (resumes.length === 0) return undefined;
  // A task sends the whole list again with each answer it takes; the last one counts.
  const [, list] = resumes.at(-1) ?? [];
  return Array.isArray(list) ? list.length : 1;
}
