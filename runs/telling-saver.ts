/**
 * The saver of an attempt: with the checkpoint of a step, in one statement, what the step told comes into the log. Whoever
 * goes on from that checkpoint, after this process has died, has nothing to tell again: no reader misses an event.
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

interface TellingSaverOptions {
  readonly pool: pg.Pool;
  readonly run: ClaimedRun;
  readonly events: EventWriter;
}

export class TellingSaver extends FencedSaver {
  readonly #events: EventWriter;
  readonly #run: ClaimedRun;

  constructor({ pool, run, events }: TellingSaverOptions, writer: Writer) {
    super(pool, run, writer);
    this.#events = events;
    this.#run = run;
  }

  protected override async store(put: Put): Promise<RunnableConfig> {
    const { source } = put.metadata;
    // The library does not wait for an input before it executes what follows from it; what that does reaches the disk
    // after it, and without it the attempt that comes next feeds the input again.
    if (source !== "loop") return super.store({ ...put, lazy: source === "input" });
    await setImmediate(); // what the step told is on its way to the writer, through streams that wait for nothing
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
