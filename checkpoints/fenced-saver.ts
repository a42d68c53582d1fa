/**
 * The saver of one run on one thread: every write holds the thread's owner row, so a worker that lost its lease can
 * write nothing, in no namespace of the thread. It travels in the run's config, which debug streams and RemoteGraph
 * print: what it holds is private to the language, and `toJSON` says only its name.
 */
import type { RunnableConfig } from "@langchain/core/runnables";
import type { CheckpointMetadata, CheckpointTuple, PendingWrite } from "@langchain/langgraph-checkpoint";
import type pg from "pg";
import { z } from "zod";
import { leaseLost, type Owner } from "../db/fence.ts";
import { PawlError } from "../lib/errors.ts";
import { patient } from "./patient.ts";
import type { QuestionTracker } from "./question-tracker.ts";
import { type Put, Saver } from "./saver.ts";
import type { Beside, FilesFrom } from "./put-checkpoint.ts";

export interface Writer {
  /** Nobody has stored anything on the thread: until this saver does there is nothing to read. */
  readonly isFirst?: boolean;
  /** Sees the questions that are loaded and written, of all namespaces. */
  readonly tracker?: QuestionTracker;
  /**
   * The outermost graph, by its channels. The library drops the value of a channel that the graph does not have, but
   * carries its version on, and with it the value when the checkpoint is read again. It does the same with tasks that
   * were sent to nodes that the graph does not have, when an input takes their place. So each checkpoint says in
   * `left_behind` which of its channels hold what its graph did not know: nothing is lost with them later.
   */
  readonly graph?: {
    readonly channels: Readonly<Record<string, unknown>>;
    readonly nodes: Readonly<Record<string, unknown>>;
  };
  /** Where a transaction stands in for the pool: see `Saver`. */
  readonly like?: Saver;
}

export class FencedSaver extends Saver {
  readonly #owner: Owner;
  readonly #tracker: QuestionTracker | undefined;
  readonly #graph: Writer["graph"];
  /** The checkpoint of the outermost graph that was put last. */
  #last: Put | undefined;
  /** The one at which something was written last. The library may write at a checkpoint before it puts it. */
  #writtenAt: string | null = null;
  #isEmpty: boolean;
  #isClosed = false;
  readonly #underWay = new Set<Promise<unknown>>();
  /** The checkpoints of the outermost graph that were read last, by its id and as the newest. */
  #chosen: Pick<CheckpointTuple, "config" | "parentConfig"> | undefined;
  #newest: Pick<CheckpointTuple, "config" | "parentConfig"> | undefined;

  constructor(pool: pg.Pool, owner: Owner, { tracker, graph, isFirst = false, like }: Writer = {}) {
    super(pool, like);
    this.#isEmpty = isFirst;
    this.#graph = graph;
    this.#owner = { thread_id: owner.thread_id, epoch: owner.epoch };
    this.#tracker = tracker;
  }

  protected override owner(threadId: string): Owner {
    if (threadId === this.#owner.thread_id) return this.#owner;
    throw new PawlError("lease_lost", "A run writes to its own thread only", { facts: { thread_id: threadId } });
  }

  override async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    if (this.#isEmpty) return undefined;
    const tuple = await super.getTuple(config);
    if (tuple) this.#tracker?.loaded(tuple);
    if (tuple && !tuple.config.configurable?.["checkpoint_ns"]) {
      const place = { config: tuple.config, ...(tuple.parentConfig && { parentConfig: tuple.parentConfig }) };
      if (config.configurable?.["checkpoint_id"]) this.#chosen = place;
      else this.#newest = place;
    }
    return tuple;
  }

  /**
   * What tasks did to the files after a checkpoint belongs to what follows their step. A fork repeats them, and so does
   * an input or an edit at a checkpoint that was chosen. The library stores a fork behind the checkpoint that it copies,
   * or (`__copy__`) beside it.
   */
  protected override filesFrom(before: string | null, { source }: CheckpointMetadata): FilesFrom {
    const isChosen = before !== null && idOf(this.#chosen?.config) === before;
    if (source !== "fork") return { checkpointId: before, withChanges: source === "loop" || !isChosen };
    const beside = [this.#chosen, this.#newest].find((read) => read && idOf(read.parentConfig) === before);
    return { checkpointId: isChosen ? before : (idOf(beside?.config) ?? before), withChanges: false };
  }

  override put(...call: Parameters<Saver["put"]>): Promise<RunnableConfig> {
    const [config, checkpoint, metadata, newVersions] = call;
    if (!config.configurable?.["checkpoint_ns"]) this.#last = { config, checkpoint, metadata, newVersions };
    this.#isEmpty = false;
    return this.#whileOpen(() => super.put(...call));
  }

  /** The newest checkpoint as a read would give it, without one; undefined where only a read can tell. */
  async newest(): Promise<CheckpointTuple | undefined> {
    if (!this.#last || this.#last.checkpoint.id === this.#writtenAt) return undefined;
    return this.stored(this.#last);
  }

  protected override store(put: Put, ...beside: readonly Beside[]): Promise<RunnableConfig> {
    const isOutermost = !put.config.configurable?.["checkpoint_ns"];
    const leftBehind = this.#graph && isOutermost ? unknownTo(this.#graph, put) : [];
    const metadata = leftBehind.length > 0 ? { ...put.metadata, left_behind: leftBehind } : put.metadata;
    return super.store({ ...put, metadata }, ...beside);
  }

  override putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string): Promise<void> {
    // Before anything is awaited: the library shows the writes in the stream as soon as this call has returned.
    this.#tracker?.putWrites(config, writes, taskId);
    if (!config.configurable?.["checkpoint_ns"]) this.#writtenAt = idOf(config);
    this.#isEmpty = false;
    return patient(this.#whileOpen(() => super.putWrites(config, writes, taskId)));
  }

  /**
   * Refuses what is still to be written, by a graph that was left behind, and waits for what is under way: whoever reads
   * the thread afterwards reads how it stays.
   */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled(this.#underWay);
  }

  async #whileOpen<T>(write: () => Promise<T>): Promise<T> {
    if (this.#isClosed) throw leaseLost(this.#owner);
    const written = write();
    this.#underWay.add(written);
    try {
      return await written;
    } finally {
      this.#underWay.delete(written);
    }
  }

  /** A run does not delete its thread; who does holds the thread's row. */
  override deleteThread(): Promise<never> {
    return Promise.reject(new PawlError("unsupported", "A run cannot delete its thread"));
  }
}

function idOf(config: RunnableConfig | undefined): string | null {
  return (config?.configurable?.["checkpoint_id"] as string | undefined) ?? null;
}

const SENDS = "__pregel_tasks";
const Sent = z.array(z.object({ node: z.string() })).catch([]);

function unknownTo({ channels, nodes }: NonNullable<Writer["graph"]>, { checkpoint, metadata }: Put): string[] {
  const names = Object.keys(checkpoint.channel_versions).filter((name) => !(name in channels));
  const sent = metadata.source === "input" ? Sent.parse(checkpoint.channel_values[SENDS]) : [];
  return sent.some(({ node }) => !(node in nodes)) ? [...names, SENDS] : names;
}
