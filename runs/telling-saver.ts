/**
 * The saver of an attempt: before the checkpoint of a step is stored, what the step told is in the log. Whoever goes on
 * from that checkpoint, after this process has died, has nothing to tell again: no reader misses an event.
 */
import { setImmediate } from "node:timers/promises";
import type { RunnableConfig } from "@langchain/core/runnables";
import type { ChannelVersions, Checkpoint, CheckpointMetadata } from "@langchain/langgraph-checkpoint";
import type pg from "pg";
import { FencedSaver, type Writer } from "../checkpoints/fenced-saver.ts";
import type { ClaimedRun } from "./claim.ts";
import type { EventWriter } from "./events/writer.ts";

export interface TellingSaverOptions {
  readonly pool: pg.Pool;
  readonly run: ClaimedRun;
  readonly events: EventWriter;
}

export class TellingSaver extends FencedSaver {
  readonly #events: EventWriter;

  constructor({ pool, run, events }: TellingSaverOptions, writer: Writer) {
    super(pool, run, writer);
    this.#events = events;
  }

  // oxlint-disable-next-line max-params -- the library's signature
  override async put(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    newVersions: ChannelVersions,
  ): Promise<RunnableConfig> {
    if (metadata.source === "loop") {
      await setImmediate(); // what the step told is on its way to the writer, through streams that wait for nothing
      await this.#events.flush();
    }
    return super.put(config, checkpoint, metadata, newVersions);
  }
}
