/**
 * Keeps a worker in a process beside this one, so that a node which computes, or ends its process, holds up no request.
 * What the two know of each other is in the database, as with any worker; this one only starts, restarts and ends it.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { PawlError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { WorkOptions } from "./work.ts";

/** What the parent says: first the order, at last `stop`. */
export type WorkerOrder = Omit<WorkOptions, "log">;
/** What the child says once it executes runs. */
export const READY = "ready";
export const STOP = "stop";

interface WorkerApart {
  /** Throws when the first process ends before it executes runs. */
  readonly ready: Promise<void>;
  /** Lets its runs get to their next step, and resolves when the process has ended. */
  drain(): Promise<void>;
}

/** Until a worker that has died is replaced: doubled with each that dies early, and half a second again after one that did not. */
const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 30_000;
const EARLY_MS = 60_000;

/** The file of the child has the ending of this one: `.ts` from source, `.js` when compiled. */
const entry = new URL(`./worker-process${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);

export function keepWorkerApart(order: WorkerOrder, log: Log): WorkerApart {
  const draining = new AbortController();
  const ready = Promise.withResolvers<void>();
  let child: ChildProcess | undefined;

  async function keep(): Promise<void> {
    let wasReady = false;
    for (let pauseMs = FIRST_PAUSE_MS; !draining.signal.aborted; pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)) {
      const begun = performance.now();
      child = fork(entry, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
      child.send(order, () => {}); // its end says that it did not arrive
      child.on("message", (message) => {
        if (message !== READY) return;
        wasReady = true;
        ready.resolve();
      });
      const end = await endOf(child);
      if (draining.signal.aborted) return;
      if (!wasReady) throw new PawlError("bad_configuration", "The process for workers ended before it was ready");
      if (performance.now() - begun > EARLY_MS) pauseMs = FIRST_PAUSE_MS;
      log.error({ ...end, restart_in_ms: pauseMs }, "the process for workers ended");
      await delay(pauseMs, undefined, { signal: draining.signal }).catch(() => {}); // drained meanwhile
    }
  }

  const kept = keep().catch((error: unknown) => ready.reject(error));
  ready.promise.catch(() => {}); // whoever starts it looks later
  return {
    ready: ready.promise,
    async drain() {
      draining.abort();
      child?.send(STOP, () => {}); // it may have ended
      await kept;
    },
  };
}

async function endOf(child: ChildProcess): Promise<{ code: number | null; signal: string | null } | { error: Error }> {
  try {
    const [code, signal] = (await once(child, "exit")) as [number | null, string | null];
    return { code, signal };
  } catch (error) {
    return { error: error as Error }; // it could not be started
  }
}
