/**
 * What this process knows, without asking the database, of the runs whose creating POST it is answering: that POST
 * usually follows its run at once.
 */
import type { Signals } from "../db/signals.ts";
import type { Principal } from "../lib/principal.ts";
import type { RunRef } from "./index.ts";

interface RecentPlace {
  readonly tenant: string;
  readonly thread_id: string;
}

export class RecentRuns {
  readonly #places = new Map<string, RecentPlace>();
  /** Runs of which no signal has come, also those that are being created. */
  readonly #withoutLog = new Set<string>();

  constructor(signals: Signals) {
    signals.on("events", (runId) => (runId === "" ? this.#withoutLog.clear() : this.#withoutLog.delete(runId)));
  }

  /** Comes before anyone can find the run. */
  begin(runId: string): void {
    this.#withoutLog.add(runId);
  }

  accepted({ run_id, thread_id }: { readonly run_id: string; readonly thread_id: string }, tenant: string): void {
    this.#places.set(run_id, { tenant, thread_id });
  }

  /** The POST is answered, or has made no run. */
  forget(runId: string): void {
    this.#places.delete(runId);
    this.#withoutLog.delete(runId);
  }

  /** Undefined where the database has to be asked. */
  placeOf({ tenant }: Principal, { threadId, runId }: RunRef): RecentPlace | undefined {
    const place = this.#places.get(runId);
    return place?.tenant === tenant && (threadId ?? place.thread_id) === place.thread_id ? place : undefined;
  }

  /** Whether nothing of the run can be in the log yet: no process has signalled an event of it. */
  hasNoLog(runId: string): boolean {
    return this.#withoutLog.has(runId);
  }
}
