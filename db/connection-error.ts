/** Whether an error means that the connection to Postgres is gone or was refused, not that a statement was wrong. */

/** SQLSTATE class 08 (connection exception), 57P (operator intervention: shut-down, crash, cannot connect now), 53300 (too many). */
const SQLSTATE = /^(08...|57P0[1-5]|53300)$/;
const SYSTEM = new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE", "ETIMEDOUT", "ENOENT", "EHOSTUNREACH"]);
/** What `pg` throws without a code. */
const MESSAGE =
  /^(Connection terminated|Client has encountered a connection error|Client was closed|timeout exceeded when trying to connect)/;

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
