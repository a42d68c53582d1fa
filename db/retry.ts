/** Tries again what may be repeated, when its connection was cut: a moment later another one of the pool may do. */
import { setTimeout as delay } from "node:timers/promises";
import type { Pool } from "pg";
import { isConnectionError } from "./connection-error.ts";

/** Milliseconds before each further try: long enough for a cut connection, not for a database that is away. */
const WAITS_MS = [20, 100, 400, 1_000];

/** `work` may have taken effect although it failed: only for what changes nothing more when it is done again. */
export async function retrying<T>(work: () => Promise<T>): Promise<T> {
  for (const ms of WAITS_MS) {
    try {
      return await work();
    } catch (error) {
      if (!isConnectionError(error)) throw error;
      await delay(ms);
    }
  }
  return work();
}

/** `pool`, with single statements that may be repeated: reads, and writes that say what to do if they have landed. */
export function repeatable(pool: Pool): Pool {
  const query = (...call: Parameters<Pool["query"]>) =>
    retrying(() => pool.query(...call) as unknown as Promise<unknown>);
  const standIn = Object.create(pool, { query: { value: query } }) as Pool;
  originals.set(standIn, pool);
  return standIn;
}

const originals = new WeakMap<Pool, Pool>();

/** The pool itself, of one that `repeatable` made. */
export function standsFor(pool: Pool): Pool {
  return originals.get(pool) ?? pool;
}
