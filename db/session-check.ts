/**
 * Whether connections are sessions of their own. Behind a pooler in transaction mode they are not: advisory locks are
 * then held by whoever asks, so a live worker would count as dead, and LISTEN hears nothing. One connection cannot tell
 * (it hears itself, and a lock is its own); two can.
 */
import { randomInt } from "node:crypto";
import { once } from "node:events";
import pg from "pg";
import { PawlError, asError } from "../lib/errors.ts";
import { SESSION_CHECK_GROUP } from "./advisory-locks.ts";
import type { ConnectTo } from "./pool.ts";

/** Longer than a notification takes under any load, short enough for a start. */
const PATIENCE_MS = 3_000;

/** Throws `bad_configuration` behind such a pooler, `database_unavailable` when there is no connection at all. */
export async function requireSessions(connection: ConnectTo): Promise<void> {
  const [holder, other] = [open(connection), open(connection)];
  try {
    await holder.connect();
    await other.connect();
    const lock = [SESSION_CHECK_GROUP, randomInt(2 ** 31)];
    await holder.query("select pg_advisory_lock($1, $2)", lock);
    const { rows } = await other.query<{ granted: boolean }>("select pg_try_advisory_lock($1, $2) as granted", lock);
    if (rows[0]?.granted === true) throw pooled();
    await holder.query("listen pawl_session_check");
    const heard = once(holder, "notification", { signal: AbortSignal.timeout(PATIENCE_MS) }).catch(() => {
      throw pooled();
    });
    await Promise.all([heard, other.query("notify pawl_session_check")]);
  } catch (thrown) {
    if (thrown instanceof PawlError) throw thrown;
    const error = asError(thrown);
    throw new PawlError("database_unavailable", `No database connection: ${error.message}`, { cause: error });
  } finally {
    await Promise.allSettled([holder.end(), other.end()]);
  }
}

function open(connection: ConnectTo): pg.Client {
  const client = new pg.Client({
    ...connection,
    application_name: "pawl session check",
    connectionTimeoutMillis: 10_000,
  });
  client.on("error", () => {}); // the query under way says it too
  return client;
}

function pooled(): PawlError {
  return new PawlError(
    "bad_configuration",
    "DATABASE_URL leads through a connection pooler in transaction mode. Pawl needs sessions of its own for locks and " +
      "notifications: give it the direct address, or a pool in session mode",
  );
}
