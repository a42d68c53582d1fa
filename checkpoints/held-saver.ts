/** A saver that has one checkpoint in memory already, so that a graph can be asked about it without another read. */
import type { RunnableConfig } from "@langchain/core/runnables";
import type { CheckpointTuple } from "@langchain/langgraph-checkpoint";
import type pg from "pg";
import type { Queryable } from "../db/pool.ts";
import { Saver } from "./saver.ts";

export class HeldSaver extends Saver {
  readonly #held: CheckpointTuple;

  /** `db`: for ancestors, which a graph may need to know a value. Reads only, so a transaction does. `from`: who read it. */
  constructor(db: Queryable, held: CheckpointTuple, from: Saver) {
    super(db as pg.Pool, from);
    this.#held = held;
  }

  override async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    const held = this.#held.config.configurable ?? {};
    const { checkpoint_ns = "", checkpoint_id = held["checkpoint_id"] } = config.configurable ?? {};
    const isHeld = checkpoint_ns === held["checkpoint_ns"] && checkpoint_id === held["checkpoint_id"];
    return isHeld ? this.#held : super.getTuple(config);
  }
}
