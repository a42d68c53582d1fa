/** Databases for tests: real ones, each with the schema of its own and gone at the end. */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, type Pool } from "pg";
import { inject } from "vitest";
import { type EmbeddedPostgres, startEmbedded } from "../../db/embedded/launch.ts";
import { type ConnectTo, createPool } from "../../db/pool.ts";
import { createLog } from "../../lib/log.ts";
import { prepareSchema, TEMPLATE } from "./schema.ts";

export interface TestDatabase extends AsyncDisposable {
  readonly connection: ConnectTo;
  readonly pool: Pool;
}

export const silent = createLog("silent");

interface TestDatabaseOptions {
  /** Connections of `pool`. */
  readonly max?: number;
  /** What to copy: `template0` gives an empty database. */
  readonly template?: typeof TEMPLATE | "template0";
}

/** `await using db = await testDatabase()`: a migrated database. Fails at the end if someone is still connected. */
export async function testDatabase({ max = 10, template = TEMPLATE }: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const server = inject("postgres");
  const database = `test_${randomUUID().replaceAll("-", "")}`;
  await asAdmin(server, (admin) => admin.query(`create database ${database} template ${template}`));
  const connection = { ...server, database };
  const pool = createPool({ ...connection, max, name: "test", log: silent });
  return {
    connection,
    pool,
    async [Symbol.asyncDispose]() {
      const inUse = pool.totalCount - pool.idleCount;
      const ended = pool.end();
      if (inUse === 0) await ended; // else it would wait for ever; `drop` waits 5 s and tells who it was
      await asAdmin(server, (admin) => drop(admin, database));
    },
  };
}

export interface TestServer extends AsyncDisposable {
  readonly dataDir: string;
  readonly connection: ConnectTo;
  /** Replaced by `restart`. */
  readonly postgres: EmbeddedPostgres;
  /** Of the postmaster: SIGINT shuts it down, SIGQUIT lets it crash. */
  readonly pid: number;
  /** Starts it again on the same data, whether it was stopped or killed. */
  restart(): Promise<void>;
}

/** A Postgres of the test's own, migrated and with fsync: for tests that stop, kill or count what the disk gets. */
export async function testServer(): Promise<TestServer> {
  const dataDir = await mkdtemp(join(tmpdir(), "pawl-server-"));
  const start = (): Promise<EmbeddedPostgres> => startEmbedded({ dataDir, log: silent });
  let postgres = await start();
  await prepareSchema(postgres.connection);
  return {
    dataDir,
    get postgres() {
      return postgres;
    },
    get connection() {
      return postgres.connection;
    },
    get pid() {
      return postmasterPid(dataDir);
    },
    async restart() {
      await postgres.stop();
      postgres = await start();
    },
    async [Symbol.asyncDispose]() {
      await postgres.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** The process that serves `dataDir`. */
export function postmasterPid(dataDir: string): number {
  return Number.parseInt(readFileSync(join(dataDir, "postgres", "postmaster.pid"), "utf8"), 10);
}

async function drop(admin: Client, database: string): Promise<void> {
  try {
    await admin.query(`drop database ${database}`); // waits 5 s for those who are just leaving
  } catch (error) {
    const { rows } = await admin.query<{ application_name: string; query: string }>(
      "select application_name, query from pg_stat_activity where datname = $1",
      [database],
    );
    await admin.query(`drop database ${database} with (force)`);
    const leaks = rows.map((row) => `${row.application_name}: ${row.query}`).join("\n");
    throw new Error(`Connections were left open:\n${leaks}`, { cause: error });
  }
}

async function asAdmin<T>(server: ConnectTo, work: (admin: Client) => Promise<T>): Promise<T> {
  const admin = new Client({ ...server, application_name: "test-admin" });
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.end();
  }
}
