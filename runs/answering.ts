/**
 * What this process knows of the POSTs that create runs: whose answer is under way, whose client was lost, and whose
 * answer has arrived although the run's row does not say so yet. Noting that takes a statement, so it waits a moment: a
 * short run has ended by then, and the statement that ends it notes it too.
 */

/** Milliseconds after which an equal POST may be one sent again to another process: the stock client waits a second. */
const RESEND_MS = 500;
/** Milliseconds that a delivery waits for the end of its run, to be noted with it. Less than `RESEND_MS`: other processes go by the row. */
const NOTE_MS = 400;
/** Milliseconds; longer than an equal POST counts as the same one. */
const FORGET_MS = 60_000;

/** A delivery that is not in the run's row yet. */
interface Delivery {
  readonly timer: NodeJS.Timeout;
  noteNow(): void;
  /** It is noted. */
  settle(): void;
}

export class Answering {
  /** POSTs that are being answered: until their run's row says whether the answer has arrived. */
  readonly #underWay = new Set<string>();
  readonly #lost = new Set<string>();
  readonly #deliveries = new Map<string, Delivery>();

  begin(runId: string): void {
    this.#underWay.add(runId);
  }

  /** The POST made no run, or was answered with an earlier one. */
  cancel(runId: string): void {
    this.#underWay.delete(runId);
  }

  lost(runId: string): void {
    this.#underWay.delete(runId);
    this.#lost.add(runId);
    setTimeout(() => this.#lost.delete(runId), FORGET_MS).unref();
  }

  /** The answer has arrived. Calls `note` in a moment, to write that down, unless `noted` is called before. Rejects as `note` does. */
  async delivered(runId: string, note: () => Promise<void>): Promise<void> {
    const due = Promise.withResolvers<boolean>();
    const noteNow = (): void => due.resolve(true);
    const timer = setTimeout(noteNow, NOTE_MS).unref();
    this.#deliveries.set(runId, { timer, noteNow, settle: () => due.resolve(false) });
    try {
      if (await due.promise) await note();
    } finally {
      this.noted(runId);
    }
  }

  /** Whether the answer has arrived and the row may not say so. */
  isToBeNoted(runId: string): boolean {
    return this.#deliveries.has(runId);
  }

  /** The row says it, or is gone. */
  noted(runId: string): void {
    const delivery = this.#deliveries.get(runId);
    clearTimeout(delivery?.timer);
    delivery?.settle();
    this.#deliveries.delete(runId);
    this.#underWay.delete(runId);
  }

  /** Notes all that waits to be noted, now. */
  noteAll(): void {
    for (const delivery of this.#deliveries.values()) delivery.noteNow();
  }

  /** Whether a POST that equals the one which created this run may be that one, sent again. */
  mayBeResent({ run_id, age_ms }: { readonly run_id: string; readonly age_ms: number }): boolean {
    if (this.#lost.has(run_id)) return true;
    return !this.#underWay.has(run_id) && age_ms > RESEND_MS;
  }
}
