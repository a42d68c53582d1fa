/**
 * Connections to Postgres. A `Queryable` is a pool or a transaction: query functions take one and never open their own.
 *
 * Values come back as `pg` parses them: `int8` (bigint columns, `count(*)`) is a **string**, since it need not fit a
 * number; timestamps are `Date`, `json` and `jsonb` are parsed.
 */
import type { Writable } from "node:stream";
import { callbackify } from "node:util";
import {
  Pool,
  type ClientBase,
  type PoolClient,
  type PoolConfig,
  type QueryConfig,
  type QueryResult,
  type QueryResultRow,
} from "pg";
import { asError, isPawlError, PawlError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { isConnectionError } from "./connection-error.ts";

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

/** Decides whether a pool may be used. */
export interface Gate {
  /** Why no connection is given out any more. */
  readonly refusal: Error | undefined;
  /** Called with each new connection before it is given out; throws if it must not be. */
  verify(client: Queryable): Promise<void>;
}

interface PoolOptions extends ConnectTo {
  readonly gate?: Gate;
  readonly max: number;
  /** Shown to operators as `application_name`. */
  readonly name: string;
  readonly log: Log;
  /** Milliseconds after which a transaction in which nothing happens is ended, with its locks; 60 s if absent. */
  readonly idleTransactionMs?: number;
}

const CONNECT_TIMEOUT_MS = 10_000;
const STATEMENT_TIMEOUT_MS = 60_000;
/** Longer than any statement: for a peer that has gone without a word, when what was sent is never acknowledged. */
const ANSWER_TIMEOUT_MS = STATEMENT_TIMEOUT_MS + 5_000;

/** For every client of `pg`: probes a silent connection after 5 s, where the kernel's default is two hours. */
export const KEEP_ALIVE = { keepAlive: true, keepAliveInitialDelayMillis: 5_000 } as const;

/**
 * A pool that neither hangs nor takes the process down: whoever gets no connection within 10 s, or loses it, gets
 * `database_unavailable`, statements and idle transactions end after 60 s, answers that never come are given up after
 * 65 s, and a lost connection is logged.
 */
export function createPool(given: PoolOptions): Pool {
  const { name, log, gate, idleTransactionMs = STATEMENT_TIMEOUT_MS, ...options } = given;
  const pool = new RefusingPool(gate, {
    ...options,
    ...(gate && { verify: callbackify((client: PoolClient) => gate.verify(client)) }),
    application_name: name,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    idle_in_transaction_session_timeout: idleTransactionMs,
    query_timeout: ANSWER_TIMEOUT_MS,
    ...KEEP_ALIVE,
    pipeline: true, // a statement does not wait for the answer to the one before, see `together`
  });
  // The pool listens to its clients only while they are idle: a client that is lost while in use would emit an
  // `error` nobody handles and end the process. The listener below hears both, so the pool's own has nothing to add.
  pool.on("connect", (client) => client.on("error", (error) => log.warn({ error, pool: name }, "connection lost")));
  pool.on("error", () => {});
  return pool;
}

/** Between begin and commit. */
export interface Transaction extends Queryable {
  /** The last statement of a transaction: the commit travels with it. */
  commitWith<R extends QueryResultRow>(statement: QueryConfig): Promise<QueryResult<R>>;
}

/** Runs `work` between begin and commit on one connection; rolls back when it throws. */
export function transaction<T>(pool: Pool, work: (tx: Transaction) => Promise<T>): Promise<T> {
  return openedTransaction(pool, () => Promise.resolve(), work);
}

/**
 * The same, where `opening` travels with the begin: one round trip for all of its statements, if it does not await one
 * before it sends the next. It reads and locks only, since it does not know yet that it is in a transaction.
 */
export async function openedTransaction<T, O>(
  pool: Pool,
  opening: (tx: Queryable) => Promise<O>,
  work: (tx: Transaction, opened: O) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  let isOver = false;
  const session = telling(client);
  const tx: Transaction = {
    ...session,
    commitWith<R extends QueryResultRow>(statement: QueryConfig) {
      isOver = true;
      return together(client, () => Promise.all([session.query<R>(statement), session.query("commit")])).then(
        ([result]) => result,
      );
    },
  };
  try {
    const [, opened] = await together(client, () => Promise.all([session.query("begin"), opening(session)]));
    const result = await work(tx, opened);
    if (!isOver) await session.query("commit");
    client.release();
    return result;
  } catch (error) {
    await endFailed(client);
    throw error;
  }
}

/**
 * A transaction whose statements need not know each other's answers: begin, all that `send` queries before it waits for
 * anything, and commit in one round trip. A statement that fails takes the others with it.
 */
export async function transactionAtOnce<T>(pool: Pool, send: (tx: Queryable) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  const session = telling(client);
  try {
    const [, result] = await together(client, () =>
      Promise.all([session.query("begin"), send(session), session.query("commit")]),
    );
    client.release();
    return result;
  } catch (error) {
    await endFailed(client);
    throw error;
  }
}

/** A client that cannot roll back is destroyed, not reused. */
async function endFailed(client: PoolClient): Promise<void> {
  client.release(await client.query("rollback").then(() => undefined, asError));
}

/** Sends what `send` queries in one packet: waking the other side is what a short statement costs. */
function together<T>(client: PoolClient, send: () => T): T {
  const { stream } = (client as unknown as { connection: { stream: Writable } }).connection;
  stream.cork();
  try {
    return send();
  } finally {
    stream.uncork();
  }
}

type OnConnect = (error: Error | undefined, client: PoolClient | undefined, done: (release?: unknown) => void) => void;

class RefusingPool extends Pool {
  readonly #gate: Gate | undefined;

  constructor(gate: Gate | undefined, config: PoolConfig) {
    super(config);
    this.#gate = gate;
  }

  // `Pool.query` connects through the callback form, everyone else through the promise.
  override connect(): Promise<PoolClient>;
  override connect(callback: OnConnect): void;
  override connect(callback?: OnConnect): Promise<PoolClient> | undefined {
    const refusal = this.#gate?.refusal;
    if (refusal) {
      if (!callback) return Promise.reject(refusal);
      callback(refusal, undefined, () => {});
      return undefined;
    }
    if (!callback) {
      return super.connect().catch((error: unknown) => {
        throw unavailable(error);
      });
    }
    super.connect((error, client, done) => callback(error && unavailable(error), client, done));
    return undefined;
  }

  // The promise form: nobody here uses another. `never` fits what each of the overloads returns.
  override query(...call: never[]): never {
    return told(super.query(...(call as unknown as Parameters<Pool["query"]>))) as never;
  }
}

/** The statements of a client. */
function telling(client: PoolClient): Queryable {
  const query = (...call: Parameters<Queryable["query"]>) => told(client.query(...call));
  return { query } as unknown as Queryable;
}

/**
 * Says by its code that a connection to this database was lost. A graph has connections of its own, whose errors look the
 * same: of them nobody here may think that the database is away.
 */
function told(answer: unknown): Promise<unknown> {
  return (answer as Promise<unknown>).catch((error: unknown) => {
    throw isConnectionError(error) ? unavailable(error) : error;
  });
}

function unavailable(cause: unknown): PawlError {
  if (isPawlError(cause)) return cause;
  // The words of the cause name hosts, paths and users; clients get to read ours.
  return new PawlError("database_unavailable", "The database cannot be reached", { cause });
}
