/**
 * Numbers the events of one attempt at a run, hands them to live subscribers at once and to the log in batches, one row
 * a flush. A flush is fenced; it does not wait for the disk (`synchronous_commit` off): the next checkpoint does.
 */
import type { Pool } from "pg";
import type { Encryption } from "../../checkpoints/encryption.ts";
import { storedText } from "../../checkpoints/sealed-text.ts";
import type { Owner } from "../../db/fence.ts";
import type { Signals } from "../../db/signals.ts";
import { asError } from "../../lib/errors.ts";
import { logPlace } from "../sealed-columns.ts";
import type { Hub, LoggedEvent } from "./hub.ts";
import { insertLogRow, type LogRow } from "./log-rows.ts";

interface EventWriterOptions {
  /** Its statements may be repeated when their answer is lost. */
  readonly pool: Pool;
  readonly hub: Hub;
  readonly signals: Signals;
  readonly owner: Owner;
  /** Seals the rows; they are stored in clear without. */
  readonly encryption: Encryption | undefined;
  readonly run: { readonly run_id: string; readonly tenant: string };
  /** Called once when the log refused a flush, because the lease is lost or the database is gone. */
  readonly onFailure: (error: Error) => void;
}

/** Milliseconds that events wait for company before they are written. */
const FLUSH_MS = 15;
const FLUSH_EVENTS = 200;
const FLUSH_CHARACTERS = 256 * 1024;

interface Numbered {
  readonly seq: bigint;
  readonly json: string;
}

interface Row {
  readonly seq: bigint;
  readonly events: readonly Numbered[];
}

export class EventWriter {
  readonly #options: EventWriterOptions;
  #next: bigint;
  #batch: Numbered[] = [];
  /**
   * Rows that were handed out and may have landed or not. Written again under the same number and with the same events,
   * they are in the log once.
   */
  #handedOut: Row[] = [];
  #characters = 0;
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();
  #failed = false;

  constructor(options: EventWriterOptions) {
    this.#options = options;
    this.#next = firstSeq(options.owner.epoch);
  }

  /** `data` is plain JSON. Resolves when the writer can take more, so that a fast graph cannot outrun the log. */
  async push(event: string, data: unknown): Promise<void> {
    const { hub, run } = this.#options;
    const logged: LoggedEvent = { seq: this.#next++, event, data };
    hub.publish(run.run_id, logged);
    const json = JSON.stringify({ seq: String(logged.seq), event, data });
    this.#batch.push({ seq: logged.seq, json });
    this.#characters += json.length;
    if (this.#batch.length >= FLUSH_EVENTS || this.#characters >= FLUSH_CHARACTERS) await this.flush();
    else this.#timer ??= setTimeout(() => void this.flush(), FLUSH_MS);
  }

  /** Writes what is waiting, after any flush under way. Never throws: a refusal goes to `onFailure`, once. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#flushing = this.#flushing.then(() => this.#write());
    return this.#flushing;
  }

  /**
   * Hands what is waiting to `write`, which stores it with something else in one statement. Throws what that throws, and
   * the row is written by the next flush.
   */
  writeWith<T>(write: (row: LogRow | undefined) => Promise<T>): Promise<T> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const written = this.#flushing.then(async () => {
      await this.#writeHandedOut();
      const row = this.#failed ? undefined : this.#take();
      try {
        const result = await write(row && this.#logRow(row));
        if (row) this.#isLogged(row);
        return result;
      } catch (error) {
        if (row) this.#handedOut.push(row);
        throw error;
      }
    });
    this.#flushing = written.then(
      () => {},
      () => {}, // whoever called it knows
    );
    return written;
  }

  /**
   * The row that ends the run, with what is not written yet: it costs no statement of its own. No event may follow,
   * unless the row is refused. If it is, another row or a flush writes the same events.
   */
  async lastRow(): Promise<LogRow> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#flushing;
    await this.#writeHandedOut();
    const events = this.#take()?.events ?? [];
    const row = { seq: this.#next++, events };
    this.#handedOut.push(row);
    return this.#logRow(row);
  }

  async #write(): Promise<void> {
    await this.#writeHandedOut();
    const row = this.#failed ? undefined : this.#take();
    if (row) await this.#insert(row);
  }

  async #writeHandedOut(): Promise<void> {
    const rows = this.#handedOut.filter(({ events }) => events.length > 0);
    this.#handedOut = [];
    for (const row of rows) if (!this.#failed) await this.#insert(row);
  }

  async #insert(row: Row): Promise<void> {
    const { pool, onFailure } = this.#options;
    try {
      await insertLogRow(pool, this.#options, this.#logRow(row));
      this.#isLogged(row);
    } catch (thrown) {
      this.#failed = true;
      onFailure(asError(thrown));
    }
  }

  #logRow({ seq, events }: Row): LogRow {
    const { encryption, owner, run } = this.#options;
    const number = String(seq);
    const place = logPlace({ thread_id: owner.thread_id, run_id: run.run_id }, "events", number);
    return { seq: number, events: storedText(encryption, `[${events.map(({ json }) => json).join(",")}]`, place) };
  }

  /** What is waiting; undefined if nothing is. */
  #take(): Row | undefined {
    const events = this.#batch;
    this.#batch = [];
    this.#characters = 0;
    const last = events.at(-1);
    return last && { seq: last.seq, events };
  }

  #isLogged({ seq }: Row): void {
    const { hub, signals, run } = this.#options;
    hub.logged(run.run_id, seq);
    signals.send("events", run.run_id);
  }
}

/** Event numbers are epoch-major, so that they grow for the life of a thread, whoever writes. */
function firstSeq(epoch: string): bigint {
  return BigInt(epoch) << 32n;
}
