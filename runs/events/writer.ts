/**
 * Numbers the events of one attempt at a run, hands them to live subscribers at once and to the log in batches, one row
 * a flush. A flush is fenced; it does not wait for the disk (`synchronous_commit` off): the next checkpoint does.
 */
import type { Encryption } from "../../checkpoints/encryption.ts";
import { storedText } from "../../checkpoints/sealed-text.ts";
import type { Owner } from "../../db/fence.ts";
import { fence, leaseLost } from "../../db/fence.ts";
import type { Queryable } from "../../db/pool.ts";
import type { Signals } from "../../db/signals.ts";
import { asError } from "../../lib/errors.ts";
import { logPlace } from "../sealed-columns.ts";
import type { Hub, LoggedEvent } from "./hub.ts";

export interface EventWriterOptions {
  /** Its statements may be repeated when their answer is lost. */
  readonly db: Queryable;
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

/** A row of the log that is to be written with something else. */
export interface LogRow {
  readonly seq: string;
  /** As in `thread_events.events`: a JSON array, or that sealed. */
  readonly events: string;
}

interface Numbered {
  readonly seq: bigint;
  readonly json: string;
}

export class EventWriter {
  readonly #options: EventWriterOptions;
  #next: bigint;
  #batch: Numbered[] = [];
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
   * the events wait on.
   */
  writeWith<T>(write: (row: LogRow | undefined) => Promise<T>): Promise<T> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const written = this.#flushing.then(async () => {
      const batch = this.#failed ? [] : this.#take();
      const last = batch.at(-1);
      try {
        const result = await write(last && this.#row(last.seq, batch));
        if (last) this.#isLogged(last);
        return result;
      } catch (error) {
        this.#batch.unshift(...batch);
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
   * unless the row is refused; then another row, or a flush, has the same events again.
   */
  async lastRow(): Promise<LogRow> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#flushing;
    return this.#row(this.#next++, this.#batch);
  }

  async #write(): Promise<void> {
    if (this.#failed) return;
    const batch = this.#take();
    const last = batch.at(-1);
    if (!last) return;
    const { db, owner, run, onFailure } = this.#options;
    const row = this.#row(last.seq, batch);
    try {
      const { rowCount } = await db.query({
        name: "log-events",
        text: `
          with ${fence},
               lazy as (select set_config('synchronous_commit', 'off', true) from fence)
          insert into thread_events (thread_id, last_seq, tenant, run_id, events)
          select $1, $3, $4, $5, $6 from lazy
          -- There already when the statement is repeated since its answer was lost: numbers have one writer.
          on conflict (thread_id, last_seq) do update set events = excluded.events`,
        values: [owner.thread_id, owner.epoch, row.seq, run.tenant, run.run_id, row.events],
      });
      if (rowCount === 0) throw leaseLost(owner);
      this.#isLogged(last);
    } catch (thrown) {
      this.#failed = true;
      onFailure(asError(thrown));
    }
  }

  #row(number: bigint, batch: readonly Numbered[]): LogRow {
    const { encryption, owner, run } = this.#options;
    const seq = String(number);
    const place = logPlace({ thread_id: owner.thread_id, run_id: run.run_id }, "events", seq);
    return { seq, events: storedText(encryption, toJson(batch), place) };
  }

  #take(): Numbered[] {
    const batch = this.#batch;
    this.#batch = [];
    this.#characters = 0;
    return batch;
  }

  #isLogged({ seq }: Numbered): void {
    const { hub, signals, run } = this.#options;
    hub.logged(run.run_id, seq);
    signals.send("events", run.run_id);
  }
}

function toJson(batch: readonly Numbered[]): string {
  return `[${batch.map(({ json }) => json).join(",")}]`;
}

/** Event numbers are epoch-major, so that they grow for the life of a thread, whoever writes. */
function firstSeq(epoch: string): bigint {
  return BigInt(epoch) << 32n;
}
