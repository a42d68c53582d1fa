/** How late the event loop is: what a node that computes without a pause costs everything else in its process. */
import { monitorEventLoopDelay } from "node:perf_hooks";

/** Milliseconds between two looks, which are part of each delay that is measured. */
const RESOLUTION_MS = 20;

/** Milliseconds, since the reading before. */
export interface LoopLag {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export class LoopLagMeter {
  readonly #histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

  constructor() {
    this.#histogram.enable();
  }

  /** Begins anew with each reading. */
  read(): LoopLag {
    const ms = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS);
    const { max } = this.#histogram;
    const lag = { p50: ms(this.#histogram.percentile(50)), p99: ms(this.#histogram.percentile(99)), max: ms(max) };
    this.#histogram.reset();
    return lag;
  }

  stop(): void {
    this.#histogram.disable();
  }
}
