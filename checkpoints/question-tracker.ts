/**
 * The questions of one run while it executes, as its saver sees them loaded and written: streams show public ids, too.
 *
 * Checkpoints are not followed, only writes: unless the run is `sync` the library stores a checkpoint some time after
 * the first writes to it.
 */
import type { RunnableConfig } from "@langchain/core/runnables";
import type { CheckpointTuple, PendingWrite } from "@langchain/langgraph-checkpoint";
import { fold, openQuestions, type PendingQuestion, type Tasks, withOrdinal } from "./open-questions.ts";

/** What waits at a checkpoint. */
interface Waiting {
  readonly checkpointId: string;
  /** The checkpoints of the graphs above, by namespace. */
  readonly parents: Readonly<Record<string, unknown>>;
  readonly tasks: Tasks;
}

export class QuestionTracker {
  /** The checkpoint that each namespace works on. */
  readonly #current = new Map<string, Waiting>();
  /** Checkpoints that were loaded with questions, by namespace and id: a run may load others than it works on. */
  readonly #loaded = new Map<string, Waiting>();

  loaded({ config, metadata, pendingWrites = [] }: CheckpointTuple): void {
    const { ns, id } = position(config);
    const tasks: Tasks = new Map();
    for (const [taskId, channel, value] of pendingWrites) fold(tasks, taskId, [[channel, value]]);
    if (![...tasks.values()].some((task) => task.interrupts.length > 0)) return;
    const waiting = { checkpointId: id, parents: metadata?.parents ?? {}, tasks };
    this.#loaded.set(`${ns} ${id}`, waiting);
    // The first one that is loaded is what the run starts from; later ones may be its ancestors.
    if (!this.#current.has(ns)) this.#current.set(ns, waiting);
  }

  putWrites(config: RunnableConfig, writes: readonly PendingWrite[], taskId: string): void {
    const { ns, id } = position(config);
    const known = this.#current.get(ns);
    const waiting =
      known?.checkpointId === id
        ? known
        : (this.#loaded.get(`${ns} ${id}`) ?? {
            checkpointId: id,
            parents: config.configurable?.["checkpoint_map"] ?? {},
            tasks: new Map(),
          });
    this.#current.set(ns, waiting);
    fold(waiting.tasks, taskId, withOrdinal(writes));
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

  /** What waits at `ns` and below, without what is left of an earlier checkpoint above it. */
  #within(ns: string): Map<string, Tasks> {
    const found = new Map<string, Tasks>();
    for (const [inner, { parents, tasks }] of this.#current) {
      const isStale = Object.entries(parents).some(([outer, id]) => {
        const above = isWithin(outer, ns) ? this.#current.get(outer) : undefined;
        return above && above.checkpointId !== id;
      });
      if (isWithin(inner, ns) && !isStale) found.set(inner, tasks);
    }
    return found;
  }
}

function position(config: RunnableConfig): { ns: string; id: string } {
  const { checkpoint_ns = "", checkpoint_id = "" } = config.configurable ?? {};
  return { ns: checkpoint_ns, id: checkpoint_id };
}

function isWithin(ns: string, outer: string): boolean {
  return outer === "" || ns === outer || ns.startsWith(`${outer}|`);
}
