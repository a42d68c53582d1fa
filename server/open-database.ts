/** The database of this process: the one that DATABASE_URL names, or an embedded one under the data directory. */
import { PostgresSaver } from "@langchain/langgraph-checkpoint-postgres";
import { startEmbedded } from "../db/embedded/launch.ts";
import { migrate } from "../db/migrate.ts";
import { type ConnectTo, createPool } from "../db/pool.ts";
import { requireSessions } from "../db/session-check.ts";
import type { Config } from "../lib/config.ts";
import type { PawlError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";

export interface OpenDatabase {
  readonly connection: ConnectTo;
  /** For people: where it is, never a password. */
  readonly label: string;
  /** Comes last: everybody else must have let go. Leaves a database of DATABASE_URL alone. */
  stop(): Promise<void>;
  /** Calls `handler` once if the embedded database ends by itself: the process cannot go on. */
  onExit(handler: (error: PawlError) => void): void;
}

/**
 * The embedded one is brought up to date, one that others use too is only checked: `pawl migrate` does that on purpose.
 * Throws `bad_configuration`, `database_unavailable`.
 */
export async function openDatabase(config: Pick<Config, "databaseUrl" | "dataDir">, log: Log): Promise<OpenDatabase> {
  if (config.databaseUrl !== undefined) {
    const connection = { connectionString: config.databaseUrl };
    await requireSessions(connection);
    await migrate(connection, { mode: "check" });
    return { connection, label: labelOf(config.databaseUrl), stop: async () => {}, onExit: () => {} };
  }
  const postgres = await startEmbedded({ dataDir: config.dataDir, log });
  try {
    await applySchema(postgres.connection, log);
  } catch (error) {
    await postgres.stop();
    throw error;
  }
  return {
    connection: postgres.connection,
    label: `embedded Postgres in ${config.dataDir}`,
    stop: () => postgres.stop(),
    onExit: (handler) => postgres.onExit(handler),
  };
}

/** The tables of the stock checkpointer first, then ours, which build on them. */
export async function applySchema(connection: ConnectTo, log: Log): Promise<void> {
  const pool = createPool({ ...connection, max: 1, name: "pawl schema", log });
  try {
    await migrate(connection, { mode: "apply", before: () => new PostgresSaver(pool).setup() });
  } finally {
    await pool.end();
  }
}

export function labelOf(databaseUrl: string): string {
  const { host, pathname } = new URL(databaseUrl);
  return `Postgres at ${host}${pathname}`;
}
