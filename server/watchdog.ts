/**
 * Ends this process when its main loop is blocked for good. Its worker has lost its runs by then (after 60 s, see
 * `membership/join.ts`), nothing here answers or ends any more, and whoever watches over the process can start it again.
 */
import { url as inspectorUrl } from "node:inspector";
import { Worker } from "node:worker_threads";

/** Later than the worker loses its lease: others have its runs then. */
const STUCK_MS = 75_000;
export const TICK_MS = 500;

export interface WatchdogData {
  /** At 0 what grows with each turn of the main loop; at 1 whether a debugger may have stopped it. */
  readonly turns: Int32Array;
  readonly stuckMs: number;
}

/** The file of the thread has the ending of this one: `.ts` from source, `.js` when compiled. */
const threadFile = new URL(`./watchdog-thread${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);

/** For a process of our own: one that others have started ends on its own account. */
export function endWhenStuck(stuckMs = STUCK_MS): void {
  const turns = new Int32Array(new SharedArrayBuffer(8));
  const turn = (): void => {
    Atomics.add(turns, 0, 1);
    Atomics.store(turns, 1, inspectorUrl() === undefined ? 0 : 1);
  };
  turn();
  setInterval(turn, TICK_MS).unref();
  new Worker(threadFile, { workerData: { turns, stuckMs } satisfies WatchdogData }).unref();
}
