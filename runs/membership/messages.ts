/** What the main thread and the heartbeat thread tell each other. */
import type { ConnectTo } from "../../db/pool.ts";

export interface HeartbeatOptions {
  readonly connection: ConnectTo;
  readonly workerId: string;
  readonly host: string;
  readonly pid: number;
  readonly leaseSeconds: number;
  /** Runs that it executes at once at most; for those who look. */
  readonly concurrency: number;
  /** Milliseconds of silence of the main loop after which the worker gives itself up. */
  readonly watchdogMs: number;
}

export type FromHeartbeat =
  | { readonly type: "joined" }
  /** A peer's lock fell free: the peer is dead. */
  | { readonly type: "dead"; readonly workerId: string }
  /** This worker has no right to its runs any more. */
  | { readonly type: "lost"; readonly reason: string };

export type ToHeartbeat =
  /** `lagMs`: longest delay of the main loop since the message before. */
  | { readonly type: "alive"; readonly lagMs: number }
  | { readonly type: "recovered"; readonly workerId: string }
  | { readonly type: "leave" };

/** Milliseconds between two signs of life of the main loop. */
export const ALIVE_MS = 1_000;

/** Advisory locks of workers are this plus the worker's `lock_key`. The high half spells "pawl", to stay clear of others. */
export const LOCK_BASE = 0x7061_776c_0000_0000n;
