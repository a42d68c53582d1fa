/**
 * Notices that the database was rewound. A restore breaks every connection, so each new one is checked before it is used;
 * a proxy may keep them, so the process also asks from time to time. Once it is noticed no pool gives out a connection.
 */
import { type Pool } from "pg";
import { asError, isPawlError, PawlError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { type DatabaseIdentity, type DatabasePosition, readDatabasePosition } from "./database-identity.ts";
import { type ConnectTo, createPool, type Gate, type Queryable } from "./pool.ts";

const CHECK_MS = 3_000;

/**
 * A crash may cost the end of a record that was on disk already, and the log goes on before it. A record is smaller than
 * this.
 */
const LONGEST_RECORD = 1_048_576n;

export class DatabaseHistory implements Gate {
  #known: DatabasePosition | undefined;
  readonly #changed = Promise.withResolvers<PawlError>();
  #refusal: PawlError | undefined;

  /** `known` is absent where the database does not say which one it is: then nothing is ever noticed. */
  constructor(known: DatabasePosition | undefined) {
    this.#known = known;
  }

  get refusal(): PawlError | undefined {
    return this.#refusal;
  }

  /** Calls `handler` once if the database turns out to be rewound: the process cannot go on. */
  onChanged(handler: (error: PawlError) => void): void {
    void this.#changed.promise.then(handler);
  }

  /** Throws `database_changed`, from then on always. */
  async verify(db: Queryable): Promise<void> {
    const known = this.#known;
    if (!known) return;
    const live = await readDatabasePosition(db);
    if (this.#refusal) throw this.#refusal;
    if (!live || !isSame(known, live) || live.flushed + LONGEST_RECORD < known.flushed) {
      this.#refusal = changed(known, live);
      this.#changed.resolve(this.#refusal);
      throw this.#refusal;
    }
    if (live.flushed > (this.#known?.flushed ?? 0n)) this.#known = live;
  }

  /** Asks from time to time until it is stopped, and when it is told that the connection was lost. */
  watch(pool: Pool, log: Log): { now(): void; stop(): void } {
    const now = (): void =>
      void this.verify(pool).catch((thrown: unknown) => {
        if (!isPawlError(thrown, "database_changed")) log.debug({ error: asError(thrown) }, "database out of reach");
      });
    const timer = setInterval(now, CHECK_MS);
    return { now, stop: () => clearInterval(timer) };
  }
}

/** `openDatabaseHistory` over a connection of its own: pools are made with the answer. */
export async function connectToHistory(connection: ConnectTo, log: Log): Promise<DatabaseHistory> {
  const pool = createPool({ ...connection, max: 1, name: "pawl history", log });
  try {
    return await openDatabaseHistory(pool, log);
  } finally {
    await pool.end();
  }
}

/**
 * The history that the processes on this database share; the first one records it. Throws `database_changed` when the
 * database is another one than was recorded.
 */
export async function openDatabaseHistory(db: Queryable, log: Log): Promise<DatabaseHistory> {
  const live = await readDatabasePosition(db);
  if (!live) {
    log.warn({}, "this Postgres does not say which one it is: a restore or a fail-over will not be noticed");
    return new DatabaseHistory(undefined);
  }
  const recorded = await recordedIdentity(db, live);
  if (!isSame(recorded, live)) throw changed(recorded, live);
  return new DatabaseHistory(live);
}

async function recordedIdentity(db: Queryable, live: DatabaseIdentity): Promise<DatabaseIdentity> {
  await db.query({
    name: "record-database-history",
    text: "insert into database_history (system_identifier, timeline_id) values ($1, $2) on conflict do nothing",
    values: [live.systemIdentifier, live.timelineId],
  });
  const { rows } = await db.query<DatabaseIdentity>({
    name: "recorded-database-history",
    text: `select system_identifier as "systemIdentifier", timeline_id::int as "timelineId" from database_history`,
  });
  return rows[0] ?? live;
}

function isSame(a: DatabaseIdentity, b: DatabaseIdentity): boolean {
  return a.systemIdentifier === b.systemIdentifier && a.timelineId === b.timelineId;
}

function changed(known: DatabaseIdentity, live: DatabaseIdentity | undefined): PawlError {
  const name = ({ systemIdentifier, timelineId }: DatabaseIdentity) => `${systemIdentifier}, timeline ${timelineId}`;
  const now = live ? (isSame(known, live) ? `${name(live)}, and shorter` : name(live)) : "one that does not say";
  return new PawlError(
    "database_changed",
    `The database was restored or failed over: it was ${name(known)}, and is now ${now}. What was promised before may be ` +
      "forgotten in it. Stop every process, run `pawl migrate --restored` once, and start again",
  );
}
