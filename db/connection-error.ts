/** Whether an error means that the connection to Postgres is gone or was refused, not that a statement was wrong. */
import { setTimeout as delay } from "node:timers/promises";
import { isPawlError } from "../lib/errors.ts";

/**
 * SQLSTATE class 08 (connection exception), 57P (operator intervention: shut-down, crash, cannot connect now), 53300 (too
 * many), 25P03 (ended since its transaction was idle for too long, as that of a process that was stopped).
 */
const SQLSTATE = /^(08...|57P0[1-5]|53300|25P03)$/;
const SYSTEM = new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE", "ETIMEDOUT", "ENOENT", "EHOSTUNREACH"]);
/** What `pg` throws without a code. */
const MESSAGE =
  /^(Connection terminated|Query read timeout|Client has encountered a connection error|Client was closed|timeout exceeded when trying to connect)/;

const RETRY_MS = 500;

/** For who can only wait: tries again while the database is away, until `signal` is aborted. Throws its reason then. */
export async function untilReachable<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isPawlError(error, "database_unavailable") && !isConnectionError(error)) throw error;
      await delay(RETRY_MS, undefined, { signal });
    }
  }
}

export function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const isPg = "syscall" in error || "severity" in error || MESSAGE.test(error.message);
  if (
    isPg &&
    "code" in error &&
    typeof error.code === "string" &&
    (SQLSTATE.test(error.code) || SYSTEM.has(error.code))
  ) {
    return true;
  }
  return MESSAGE.test(error.message) || isConnectionError(error.cause);
}
