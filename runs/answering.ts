/** What this process knows of the POSTs that create runs: whose answer is under way, and whose client was lost. */

/** Milliseconds after which an equal POST may be one sent again to another process: the stock client waits a second. */
const RESEND_MS = 500;
/** Longer than any POST counts as the same one. */
const FORGET_MS = 60_000;

export class Answering {
  readonly #underWay = new Set<string>();
  readonly #lost = new Set<string>();

  begin(runId: string): void {
    this.#underWay.add(runId);
  }

  delivered(runId: string): void {
    this.#underWay.delete(runId);
  }

  lost(runId: string): void {
    this.#underWay.delete(runId);
    this.#lost.add(runId);
    setTimeout(() => this.#lost.delete(runId), FORGET_MS).unref();
  }

  /** Whether a POST that equals the one which created this run may be that one, sent again. */
  mayBeResent({ run_id, age_ms }: { readonly run_id: string; readonly age_ms: number }): boolean {
    if (this.#lost.has(run_id)) return true;
    return !this.#underWay.has(run_id) && age_ms > RESEND_MS;
  }
}
