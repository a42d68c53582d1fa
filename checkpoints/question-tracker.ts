/** The questions of one run while it executes, as its saver sees them written: the stream shows public ids, too. */
import type { RunnableConfig } from "@langchain/core/runnables";
import type { CheckpointTuple, PendingWrite } from "@langchain/langgraph-checkpoint";
import { fold, openQuestions, type PendingQuestion, type Tasks, withOrdinal } from "./open-questions.ts";

export class QuestionTracker {
  /** By namespace and checkpoint: a run may load other checkpoints than the one it works on. */
  readonly #tasks = new Map<string, Map<string, Tasks>>();
  /** The checkpoint that each namespace works on. */
  readonly #current = new Map<string, string>();

  loaded({ config, pendingWrites }: CheckpointTuple): void {
    const { ns, id } = position(config);
    const tasks: Tasks = new Map();
    for (const [taskId, channel, value] of pendingWrites ?? []) fold(tasks, taskId, [[channel, value]]);
    if ([...tasks.values()].some((task) => task.interrupts.length > 0 || task.answers > 0)) this.#at(ns).set(id, tasks);
    // The first one that is loaded is what the run starts from; later ones may be its ancestors.
    if (!this.#current.has(ns)) this.#current.set(ns, id);
  }

  /** A new checkpoint: what the one before it asked is over, and so is what was asked below it. */
  put(config: RunnableConfig, id: string): void {
    const { ns } = position(config);
    for (const other of this.#tasks.keys()) {
      if (isWithin(other, ns)) this.#tasks.delete(other);
    }
    for (const other of this.#current.keys()) {
      if (isWithin(other, ns)) this.#current.delete(other);
    }
    this.#current.set(ns, id);
  }

  putWrites(config: RunnableConfig, writes: readonly PendingWrite[], taskId: string): void {
    const { ns, id } = position(config);
    const tasks = this.#at(ns).get(id) ?? new Map();
    fold(tasks, taskId, withOrdinal(writes));
    this.#at(ns).set(id, tasks);
    this.#current.set(ns, id);
  }

  /** All that is open at `ns` and below. */
  pending(ns = ""): PendingQuestion[] {
    return openQuestions(this.#within(ns), ns);
  }

  /**
   * The open questions that an interrupt in the graph of namespace `ns` stands for, several if its task is a subgraph:
   * the library shows one of them. Undefined for an interrupt that was never written: nothing is known about it.
   */
  behind(ns: string, taskInterruptId: string): PendingQuestion[] | undefined {
    const tasks = this.#within(ns);
    const holders = [...(tasks.get(ns) ?? [])].filter(([, { interrupts }]) =>
      interrupts.some(({ id }) => id === taskInterruptId),
    );
    if (holders.length === 0) return undefined;
    return openQuestions(tasks, ns).filter(({ path }) => holders.some(([taskId]) => path.includes(taskId)));
  }

  /** The current public id of a library id, wherever it is asked. */
  publicId(taskInterruptId: string): string {
    const known = [...this.#current.keys()].flatMap((ns) => this.behind(ns, taskInterruptId) ?? []);
    return (
      known.find(({ task_interrupt_id }) => task_interrupt_id === taskInterruptId)?.interrupt_id ?? taskInterruptId
    );
  }

  #within(ns: string): Map<string, Tasks> {
    const found = new Map<string, Tasks>();
    for (const [other, id] of this.#current) {
      const tasks = isWithin(other, ns) ? this.#tasks.get(other)?.get(id) : undefined;
      if (tasks) found.set(other, tasks);
    }
    return found;
  }

  #at(ns: string): Map<string, Tasks> {
    const known = this.#tasks.get(ns) ?? new Map<string, Tasks>();
    this.#tasks.set(ns, known);
    return known;
  }
}

function position(config: RunnableConfig): { ns: string; id: string } {
  const { checkpoint_ns = "", checkpoint_id = "" } = config.configurable ?? {};
  return { ns: checkpoint_ns, id: checkpoint_id };
}

function isWithin(ns: string, outer: string): boolean {
  return outer === "" || ns === outer || ns.startsWith(`${outer}|`);
}
