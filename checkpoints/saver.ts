/**
 * LangGraph's checkpoint saver on Postgres: the stock tables and serialized form, with fewer round trips, with large
 * values in pieces that are stored once (known-versions.ts), and with what the stock one gets wrong put right:
 *
 * - The newest checkpoint is the one stored last, not the one with the highest id (an id carries its writer's clock).
 * - Versions of a channel are unique. Stock versions count 1, 2, 3, and a value is never overwritten, so two branches
 *   of a thread (a fork, or the run after a rollback) would share values.
 * - A U+0000 or a lone surrogate in metadata does not end the run: jsonb refuses both.
 * - A stored interrupt says how many answers its task had before it (`ordinal`, see open-questions.ts).
 *
 * This class writes for anyone; a run writes through `FencedSaver`.
 */
import { randomInt } from "node:crypto";
import type { RunnableConfig } from "@langchain/core/runnables";
import {
  type ChannelVersions,
  type Checkpoint,
  type CheckpointListOptions,
  type CheckpointMetadata,
  type CheckpointTuple,
  type DeltaChannelHistory,
  type PendingWrite,
  WRITES_IDX_MAP,
} from "@langchain/langgraph-checkpoint";
import { PostgresSaver } from "@langchain/langgraph-checkpoint-postgres";
import type pg from "pg";
import type { Owner } from "../db/fence.ts";
import type { Queryable } from "../db/pool.ts";
import { cleanJson } from "../lib/text.ts";
import { byId } from "./by-id.ts";
import { deltaHistories } from "./delta-history.ts";
import { listTuples } from "./list-tuples.ts";
import { type Tasks, withOrdinal } from "./open-questions.ts";
import { rowsOf } from "./checkpoint-rows.ts";
import { dumpValues, dumpWrites, eachOnce } from "./dump-values.ts";
import { type Encryption, encryptionOf } from "./encryption.ts";
import { type KnownVersions, versionsOf } from "./known-versions.ts";
import { metadataOf } from "./config-metadata.ts";
import { readKnown } from "./read-known.ts";
import { readTuples, type Selection } from "./read-tuples.ts";
import { type ThreadCheckpoint, waitingTasks } from "./read-waiting.ts";
import { sealWrites } from "./sealed-rows.ts";
import { Serializer } from "./serializer.ts";
import { type StepPlace, StepResults } from "./step-results.ts";
import { deleteThreadCheckpoints } from "./thread-data.ts";
import { readNulls } from "./read-nulls.ts";
import { tupleOf } from "./tuple-of.ts";
import { type Beside, type FilesFrom, putGrouped } from "./put-checkpoint.ts";
import { type PutWrites, putWritesGrouped, writesBeside } from "./put-writes.ts";

/** What `put` is called with. */
export interface Put {
  readonly config: RunnableConfig;
  readonly checkpoint: Checkpoint;
  readonly metadata: CheckpointMetadata;
  readonly newVersions: ChannelVersions;
  /** Results of the tasks before it that are not stored yet. */
  readonly results?: readonly PutWrites[];
  /** See `PutCheckpoint`. */
  readonly lazy?: boolean;
}

export class Saver extends PostgresSaver {
  readonly #pool: pg.Pool;
  readonly #versions: KnownVersions;
  readonly #encryption: Encryption | undefined;
  readonly #results = new StepResults((put) => putWritesGrouped(this.#pool, put));

  /** `like`: the saver that knows what `pool`, a transaction, does not: how values are encrypted, and some of them. */
  constructor(pool: pg.Pool, like?: Saver) {
    super(pool, new Serializer());
    this.#pool = pool;
    this.#versions = like ? like.#versions : versionsOf(pool);
    this.#encryption = like ? like.#encryption : encryptionOf(pool);
  }

  /** On whose behalf writes happen; null for writes that are not fenced. */
  protected owner(_threadId: string): Owner | null {
    return null;
  }

  /** Whose files a checkpoint of the outermost graph begins with, by the checkpoint before it (null: the first). */
  protected filesFrom(before: string | null, _metadata: CheckpointMetadata): FilesFrom {
    return { checkpointId: before, withChanges: true };
  }

  /**
   * Growing and unique: a whole number that counts, and a random fraction, 15 digits together, which a number holds for
   * certain; the last one is not zero. Of keys that are equally long Postgres fills the pages of an index; of others it
   * leaves them half empty. Called without `this` by the library.
   */
  override getNextVersion(current: number | undefined): number {
    const count = String(Math.floor(current ?? 0) + 1);
    const digits = 14 - count.length;
    return Number(`${count}.${String(randomInt(10 ** digits)).padStart(digits, "0")}${randomInt(1, 10)}`);
  }

  override async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    const { thread_id, checkpoint_ns = "", checkpoint_id } = config.configurable ?? {};
    const at = { thread_id, checkpoint_ns };
    const known = this.#versions.has(at)
      ? await readKnown(
          this.#pool,
          { at, checkpointId: checkpoint_id },
          { versions: this.#versions, encryption: this.#encryption },
        )
      : undefined;
    if (known) return tupleOf(known, this);
    const [stored] = await readTuples(
      this.#pool,
      checkpoint_id
        ? {
            name: "checkpoint-by-id",
            where: `ctid = (select c.ctid from checkpoints c
                             where c.thread_id = $1 and c.checkpoint_ns = $2 and ${byId("c", "$3")})`,
            values: [thread_id, checkpoint_ns, checkpoint_id],
            limit: 1,
            encryption: this.#encryption,
          }
        : {
            name: "checkpoint-newest",
            where: "thread_id = $1 and checkpoint_ns = $2",
            values: [thread_id, checkpoint_ns],
            limit: 1,
            encryption: this.#encryption,
          },
    );
    if (!stored) return undefined;
    this.#versions.saw(at, stored);
    return tupleOf(stored, this);
  }

  /** Newest first. `before` is the place of that checkpoint in time, whatever its namespace. */
  override async *list(config: RunnableConfig, options?: CheckpointListOptions): AsyncGenerator<CheckpointTuple> {
    for await (const stored of listTuples(this.#pool, { config, encryption: this.#encryption }, options))
      yield await tupleOf(stored, this);
  }

  // oxlint-disable-next-line max-params -- the library's signature
  override put(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    newVersions: ChannelVersions,
  ): Promise<RunnableConfig> {
    return this.#results.storedWith(placeOf(config), (results) =>
      this.store({ config, checkpoint, metadata, newVersions, results }),
    );
  }

  /** `beside` lands with the checkpoint, or not at all. */
  protected async store(put: Put, ...beside: readonly Beside[]): Promise<RunnableConfig> {
    const { config, checkpoint, metadata, newVersions, results = [], lazy } = put;
    const { thread_id, checkpoint_ns = "", checkpoint_id, run_id } = config.configurable ?? {};
    if (!thread_id) throw new Error('Missing "thread_id" in "configurable"');
    const owner = this.owner(thread_id);
    const stripped = cleanJson(this._dumpCheckpoint(checkpoint));
    const [values, dumped] = await Promise.all([
      dumpValues(checkpoint.channel_values, newVersions, {
        serde: this.serde,
        before: (channel) => this.#versions.chunks({ thread_id, checkpoint_ns }, channel),
      }),
      this._dumpMetadata({ ...metadataOf(config), ...(run_id && { run_id }), ...metadata }),
    ]);
    const written = results.length > 0 ? [writesBeside(results), ...beside] : beside;
    const whole = { checkpoint: stripped, metadata: cleanJson(dumped) };
    const parent = checkpoint_id ?? null;
    const at = { thread_id, checkpoint_ns, checkpoint_id: checkpoint.id, parent, encryption: this.#encryption };
    const versions = { values, newVersions, channelVersions: checkpoint.channel_versions };
    await this.#versions.store(at, versions, {
      readNulls: (unknown) => readNulls(this.#pool, at, unknown),
      put: (planned) => {
        const { items, ...others } = rowsOf(at, whole, planned);
        return putGrouped(this.#pool, {
          owner,
          row: [thread_id, checkpoint_ns, checkpoint.id, parent],
          ...(checkpoint_ns === "" && { files: this.filesFrom(parent, metadata) }),
          ...others,
          items: eachOnce([...items, ...results.flatMap((result) => result.items)]),
          beside: written,
          lazy,
        });
      },
    });
    return { configurable: { thread_id, checkpoint_ns, checkpoint_id: checkpoint.id } };
  }

  override async putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string): Promise<void> {
    const dumped = this.#dumpWrites(config, writes, taskId);
    const isResult = !writes.some(([channel]) => channel in WRITES_IDX_MAP);
    return isResult ? this.#results.hold(placeOf(config), dumped) : putWritesGrouped(this.#pool, await dumped);
  }

  /** What is to be stored of a task's writes. */
  async #dumpWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string): Promise<PutWrites> {
    const { thread_id, checkpoint_ns = "", checkpoint_id, run_id } = config.configurable ?? {};
    const at = { thread_id, checkpoint_ns, checkpoint_id, task_id: taskId };
    return {
      owner: this.owner(thread_id),
      row: [thread_id, checkpoint_ns, checkpoint_id, taskId],
      runId: run_id ?? null,
      ...sealWrites(this.#encryption, at, await dumpWrites(withOrdinal(writes), this.serde)),
      replace: writes.every(([channel]) => channel in WRITES_IDX_MAP),
      lazy: !writes.some(([channel]) => channel in WRITES_IDX_MAP),
    };
  }

  override deleteThread(threadId: string): Promise<void> {
    return deleteThreadCheckpoints(this.#pool, threadId);
  }

  /** Checkpoints by a condition, newest first. `db`: whoever holds a transaction reads in it. */
  async load(selection: Omit<Selection, "encryption">, db: Queryable = this.#pool): Promise<CheckpointTuple[]> {
    const found = await readTuples(db, { ...selection, encryption: this.#encryption });
    return Promise.all(found.map((stored) => tupleOf(stored, this)));
  }

  /** What the library's `DeltaChannel` is computed from. */
  override async getDeltaChannelHistory({
    config,
    channels,
  }: {
    config: RunnableConfig;
    channels: string[];
  }): Promise<Record<string, DeltaChannelHistory>> {
    const { thread_id, checkpoint_ns = "", checkpoint_id } = config.configurable ?? {};
    const query = { threadId: thread_id, ns: checkpoint_ns, checkpointId: checkpoint_id, channels };
    return deltaHistories(this.#pool, { ...query, encryption: this.#encryption }, this.serde);
  }

  /** Who waits for what at a root checkpoint, by namespace. `db`: whoever holds a transaction reads in it. */
  waitingTasks(at: ThreadCheckpoint, db: Queryable = this.#pool): Promise<Map<string, Tasks>> {
    return waitingTasks(db, at, { encryption: this.#encryption, serde: this.serde });
  }

  /**
   * What a read would give of a checkpoint that was put and has no writes; undefined unless all its values are known. A
   * node may have changed what the checkpoint itself holds, in a channel that it did not write: that is not stored.
   */
  protected async stored({ config, checkpoint, metadata }: Put): Promise<CheckpointTuple | undefined> {
    const { thread_id, checkpoint_ns = "", checkpoint_id = null } = config.configurable ?? {};
    const values = this.#versions.values({ thread_id, checkpoint_ns }, checkpoint.channel_versions);
    if (!values) return undefined;
    return tupleOf(
      {
        thread_id,
        checkpoint_ns,
        checkpoint_id: checkpoint.id,
        parent_checkpoint_id: checkpoint_id,
        checkpoint,
        metadata: { ...metadata },
        values,
        sent: [],
        writes: [],
      },
      this,
    );
  }
}

function placeOf({ configurable }: RunnableConfig): StepPlace {
  const { thread_id, checkpoint_ns = "", checkpoint_id } = configurable ?? {};
  return { thread_id, checkpoint_ns, checkpoint_id };
}
