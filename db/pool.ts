/**
 * Connections to Postgres. A `Queryable` is a pool or a transaction: query functions take one and never open their own.
 *
 * Values come back as `pg` parses them: `int8` (bigint columns, `count(*)`) is a **string**, since it need not fit a
 * number; timestamps are `Date`, `json` and `jsonb` are parsed.
 */
import { Pool, type ClientBase, type PoolClient } from "pg";
import { asError, PawlError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";

export type Queryable = Pick<ClientBase, "query">;

/** Where a database is. Plain data, so that it survives the structured clone into a worker_thread. */
export interface ConnectTo {
  readonly connectionString?: string;
  /** A host name, or the directory of a Unix socket. */
  readonly host?: string;
  readonly port?: number;
  readonly user?: string;
  readonly password?: string;
  readonly database?: string;
  readonly ssl?: boolean;
}

export interface PoolOptions extends ConnectTo {
  readonly max: number;
  /** Shown to operators as `application_name`. */
  readonly name: string;
  readonly log: Log;
}

const CONNECT_TIMEOUT_MS = 10_000;
const STATEMENT_TIMEOUT_MS = 60_000;

/**
 * A pool that neither hangs nor takes the process down: whoever gets no connection within 10 s gets
 * `database_unavailable`, statements and idle transactions end after 60 s, and a lost connection is logged.
 */
export function createPool({ name, log, ...options }: PoolOptions): Pool {
  const pool = new RefusingPool({
    ...options,
    application_name: name,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    idle_in_transaction_session_timeout: STATEMENT_TIMEOUT_MS,
    keepAlive: true,
  });
  // The pool listens to its clients only while they are idle: a client that is lost while in use would emit an
  // `error` nobody handles and end the process. The listener below hears both, so the pool's own has nothing to add.
  pool.on("connect", (client) => client.on("error", (error) => log.warn({ error, pool: name }, "connection lost")));
  pool.on("error", () => {});
  return pool;
}

/** Runs `work` between begin and commit on one connection; rolls back when it throws. */
export async function transaction<T>(pool: Pool, work: (tx: Queryable) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  try {
    await client.query("begin");
    const result = await work(client);
    await client.query("commit");
    client.release();
    return result;
  } catch (error) {
    const broken = await client.query("rollback").then(() => undefined, asError);
    client.release(broken); // a client that cannot roll back is destroyed, not reused
    throw error;
  }
}

type OnConnect = (error: Error | undefined, client: PoolClient | undefined, done: (release?: unknown) => void) => void;

class RefusingPool extends Pool {
  // `Pool.query` connects through the callback form, everyone else through the promise.
  override connect(): Promise<PoolClient>;
  override connect(callback: OnConnect): void;
  override connect(callback?: OnConnect): Promise<PoolClient> | undefined {
    if (!callback) {
      return super.connect().catch((error: unknown) => {
        throw unavailable(error);
      });
    }
    super.connect((error, client, done) => callback(error && unavailable(error), client, done));
    return undefined;
  }
}

function unavailable(cause: unknown): PawlError {
  // The words of the cause name hosts, paths and users; clients get to read ours.
  return new PawlError("database_unavailable", "The database cannot be reached", { cause });
}
