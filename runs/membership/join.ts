/** Makes this process a worker that others can see die; the work is done on the heartbeat thread. */
import { hostname } from "node:os";
import { Worker } from "node:worker_threads";
import type { ConnectTo } from "../../db/pool.ts";
import { asError, PawlError } from "../../lib/errors.ts";
import { LoopLagMeter } from "../../lib/loop-lag.ts";
import { ALIVE_MS, type FromHeartbeat, type HeartbeatOptions, type ToHeartbeat } from "./messages.ts";

interface JoinOptions {
  readonly connection: ConnectTo;
  readonly workerId: string;
  readonly leaseSeconds: number;
  readonly concurrency: number;
  /** A peer is dead; its runs are to be put back. Called again until it succeeds. */
  readonly onDead: (workerId: string) => Promise<void>;
  /** Called once, after it has joined: this worker has no right to its runs any more. */
  readonly onLost: (reason: string) => void;
  /** The main loop was blocked for so many milliseconds: more than `BLOCKED_MS`. */
  readonly onBlocked: (ms: number) => void;
}

export interface Membership {
  /** Gives the lock and the row back, once the runs are finished or requeued. */
  leave(): Promise<void>;
}

/** Seconds of a blocked main loop that a worker survives. */
const WATCHDOG_SECONDS = 60;
const BLOCKED_MS = 1_000;

/** The file of the thread has the ending of this one: `.ts` from source, `.js` when compiled. */
const threadFile = new URL(`./heartbeat-thread${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);

/** Throws `database_unavailable`. */
export async function joinWorkers(options: JoinOptions): Promise<Membership> {
  const workerData: HeartbeatOptions = {
    connection: options.connection,
    workerId: options.workerId,
    host: hostname(),
    pid: process.pid,
    leaseSeconds: options.leaseSeconds,
    concurrency: options.concurrency,
    watchdogMs: WATCHDOG_SECONDS * 1_000,
  };
  const thread = new Worker(threadFile, { workerData });
  const say = (message: ToHeartbeat): void => thread.postMessage(message);
  const joined = Promise.withResolvers<void>();
  const exited = Promise.withResolvers<void>();
  let phase: "joining" | "joined" | "over" = "joining";

  function lose(reason: string): void {
    if (phase === "joining") {
      joined.reject(new PawlError("database_unavailable", `This process could not become a worker: ${reason}`));
    }
    if (phase === "joined") options.onLost(reason);
    phase = "over";
  }

  const meter = new LoopLagMeter();
  const alive = setInterval(() => {
    const lagMs = meter.read().max;
    say({ type: "alive", lagMs });
    if (lagMs > BLOCKED_MS) options.onBlocked(Math.round(lagMs));
  }, ALIVE_MS);
  thread.on("message", (message: FromHeartbeat) => {
    if (message.type === "joined") {
      phase = "joined";
      joined.resolve();
    }
    if (message.type === "lost") lose(message.reason);
    if (message.type === "dead") {
      void options.onDead(message.workerId).finally(() => say({ type: "recovered", workerId: message.workerId }));
    }
  });
  thread.on("error", (thrown) => lose(asError(thrown).message));
  thread.on("exit", () => {
    clearInterval(alive);
    meter.stop();
    exited.resolve();
  });
  await joined.promise;
  return {
    async leave() {
      phase = "over"; // on purpose
      say({ type: "leave" });
      await exited.promise;
    },
  };
}
