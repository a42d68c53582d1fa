/**
 * The saver of an attempt: it stores the checkpoint of a step and the events of that step in one statement. When this
 * process dies, whoever goes on from that checkpoint finds all events of the step in the log: no reader misses one.
 */
import { setImmediate } from "node:timers/promises";
import type { RunnableConfig } from "@langchain/core/runnables";
import type pg from "pg";
import { FencedSaver, type Writer } from "../checkpoints/fenced-saver.ts";
import type { Put } from "../checkpoints/saver.ts";
import type { Beside } from "../checkpoints/put-checkpoint.ts";
import type { ClaimedRun } from "./claim.ts";
import type { LogRow } from "./events/log-rows.ts";
import type { EventWriter } from "./events/writer.ts";

interface SaverWithEventsOptions {
  readonly pool: pg.Pool;
  readonly run: ClaimedRun;
  readonly events: EventWriter;
}

export class SaverWithEvents extends FencedSaver {
  readonly #events: EventWriter;
  readonly #run: ClaimedRun;

  constructor({ pool, run, events }: SaverWithEventsOptions, writer: Writer) {
    super(pool, run, writer);
    this.#events = events;
    this.#run = run;
  }

  protected override async store(put: Put): Promise<RunnableConfig> {
    const { source } = put.metadata;
    // An input need not wait for the disk. The library does not wait for it either, and what it then executes is stored
    // later, so reaches the disk later. If the input is lost, the next attempt feeds it again.
    if (source !== "loop") return super.store({ ...put, lazy: source === "input" });
    await setImmediate(); // the last events of the step are on their way to the writer, through streams that are read without a wait
    return this.#events.writeWith((row) => super.store(put, ...(row ? [logged(this.#run, row)] : [])));
  }
}

function logged({ thread_id, tenant, run_id }: ClaimedRun, { seq, events }: LogRow): Beside {
  return {
    name: "logged",
    into: "thread_events (thread_id, last_seq, tenant, run_id, events)",
    types: ["uuid", "bigint", "text", "uuid", "text"],
    rows: [[thread_id, seq, tenant, run_id, events]],
  };
}
