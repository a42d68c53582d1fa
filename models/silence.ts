/** Ends an attempt that has been silent too long, and keeps the reason of an abort, which clients hide or swallow. */

interface SilenceLimits {
  /** Milliseconds without a sign of life. */
  readonly timeoutMs: number;
  /** `Date.now()` at which the attempt ends in any case. */
  readonly deadline: number;
  /** The caller's. */
  readonly signal: AbortSignal | undefined;
}

export class Silence {
  /** Aborted by the caller, by silence or by the deadline. */
  readonly signal: AbortSignal;
  readonly #limits: SilenceLimits;
  readonly #own = new AbortController();

  constructor(limits: SilenceLimits) {
    this.#limits = limits;
    this.signal = limits.signal ? AbortSignal.any([limits.signal, this.#own.signal]) : this.#own.signal;
  }

  /** One sign of life. The clock runs only meanwhile: a reader who is slow to ask for the next one is no silence. */
  async next<T>(wait: () => Promise<T>): Promise<T> {
    const ms = Math.min(this.#limits.timeoutMs, Math.max(0, this.#limits.deadline - Date.now()));
    const timer = setTimeout(() => this.#own.abort(new DOMException("Silent too long", "TimeoutError")), ms);
    try {
      return await wait();
    } finally {
      clearTimeout(timer);
      this.signal.throwIfAborted();
    }
  }
}
