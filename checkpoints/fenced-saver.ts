/**
 * The saver of one run on one thread: every write holds the thread's owner row, so a worker that lost its lease can
 * write nothing, in no namespace of the thread. It travels in the run's config, which debug streams and RemoteGraph
 * print: what it holds is private to the language, and `toJSON` says only its name.
 */
import type { RunnableConfig } from "@langchain/core/runnables";
import type { CheckpointTuple, PendingWrite } from "@langchain/langgraph-checkpoint";
import type pg from "pg";
import type { Owner } from "../db/fence.ts";
import { PawlError } from "../lib/errors.ts";
import { patient } from "./patient.ts";
import type { QuestionTracker } from "./question-tracker.ts";
import { Saver } from "./saver.ts";

export class FencedSaver extends Saver {
  readonly #owner: Owner;
  readonly #tracker: QuestionTracker | undefined;

  /** `tracker` sees the questions that are loaded and written, of all namespaces. */
  constructor(pool: pg.Pool, owner: Owner, tracker?: QuestionTracker) {
    super(pool);
    this.#owner = { thread_id: owner.thread_id, epoch: owner.epoch };
    this.#tracker = tracker;
  }

  protected override owner(threadId: string): Owner {
    if (threadId === this.#owner.thread_id) return this.#owner;
    throw new PawlError("lease_lost", "A run writes to its own thread only", { facts: { thread_id: threadId } });
  }

  override async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    const tuple = await super.getTuple(config);
    if (tuple) this.#tracker?.loaded(tuple);
    return tuple;
  }

  override putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string): Promise<void> {
    // Before anything is awaited: the library shows the writes in the stream as soon as this call has returned.
    this.#tracker?.putWrites(config, writes, taskId);
    return patient(super.putWrites(config, writes, taskId));
  }

  /** A run does not delete its thread; who does holds the thread's row. */
  override deleteThread(): Promise<never> {
    return Promise.reject(new PawlError("unsupported", "A run cannot delete its thread"));
  }
}
