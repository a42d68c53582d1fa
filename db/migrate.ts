/**
 * Brings a schema up to date: forward-only, numbered .sql files in db/migrations, each in its own transaction.
 *
 * Old and new processes run side by side during a deployment, so a file only expands what is there. One that old
 * processes cannot live with says `--! breaking` in its first line, and they refuse to start on its schema.
 */
import { readdir, readFile } from "node:fs/promises";
import { Client } from "pg";
import { PawlError } from "../lib/errors.ts";
import { MIGRATION } from "./advisory-locks.ts";
import type { ConnectTo } from "./pool.ts";

interface MigrateOptions {
  /** `apply` brings the schema up to date, `check` only tells whether this process can work with it. */
  readonly mode: "apply" | "check";
  /** Runs under the same lock, before the numbered files: what they build on, and can be repeated. */
  readonly before?: (client: Client) => Promise<void>;
  readonly folder?: URL;
}

interface Migration {
  readonly number: number;
  readonly name: string;
  readonly breaking: boolean;
  readonly sql: string;
}

type Applied = Pick<Migration, "number" | "name" | "breaking">;

/** Compiled code finds its own copy: the build puts the files beside this module. */
const MIGRATIONS = new URL("./migrations/", import.meta.url);

/**
 * Any number of processes may call it at once. Throws `bad_configuration` if the schema is too old (mode `check`) or
 * newer and breaking. Needs a connection that keeps its session, so none through a transaction pooler.
 */
export async function migrate(connection: ConnectTo, { mode, before, folder = MIGRATIONS }: MigrateOptions) {
  const known = await readMigrations(folder);
  const client = new Client({ ...connection, application_name: "pawl-migrate", connectionTimeoutMillis: 10_000 });
  client.on("error", () => {}); // the statement under way rejects too
  await client.connect();
  try {
    if (mode === "apply") await applyAll(client, known, before);
    refuseMismatch(known, await readApplied(client));
  } finally {
    await client.end(); // and with it the lock
  }
}

async function applyAll(client: Client, known: Migration[], before: MigrateOptions["before"]): Promise<void> {
  await client.query("select pg_advisory_lock($1, $2)", [...MIGRATION]);
  await client.query(`
    create table if not exists pawl_migrations (
      number     integer primary key,
      name       text not null,
      breaking   boolean not null,
      applied_at timestamptz not null default now()
    )`);
  const applied = await readApplied(client);
  refuseBreaking(known, applied); // before anything is touched
  await before?.(client);
  for (const migration of known) {
    if (!applied.some(({ number }) => number === migration.number)) await apply(client, migration);
  }
}

async function apply(client: Client, { number, name, breaking, sql }: Migration): Promise<void> {
  await client.query("begin");
  try {
    await client.query("insert into pawl_migrations (number, name, breaking) values ($1, $2, $3)", [
      number,
      name,
      breaking,
    ]);
    await client.query(sql);
    await client.query("commit");
  } catch (cause) {
    await client.query("rollback").catch(() => {}); // `cause` says why
    throw new Error(`Migration ${name} failed and left nothing behind`, { cause });
  }
}

async function readMigrations(folder: URL): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => /^\d{4}_.*\.sql$/.test(name)).sort();
  return Promise.all(
    names.map(async (name) => {
      const sql = await readFile(new URL(name, folder), "utf8");
      return { number: Number.parseInt(name, 10), name, breaking: sql.startsWith("--! breaking"), sql };
    }),
  );
}

async function readApplied(client: Client): Promise<Applied[]> {
  const { rows: tables } = await client.query<{ exists: boolean }>(
    "select to_regclass('pawl_migrations') is not null as exists",
  );
  if (!tables[0]?.exists) return [];
  const { rows } = await client.query<Applied>("select number, name, breaking from pawl_migrations order by number");
  return rows;
}

function refuseMismatch(known: Migration[], applied: Applied[]): void {
  const missing = known.filter(({ number }) => applied.every((row) => row.number !== number));
  if (missing.length > 0) {
    throw new PawlError(
      "bad_configuration",
      `The database lacks ${missing.map(({ name }) => name).join(", ")}: run \`pawl migrate\``,
    );
  }
  refuseBreaking(known, applied);
}

function refuseBreaking(known: Migration[], applied: Applied[]): void {
  const breaking = applied.filter((row) => row.breaking && known.every(({ number }) => number !== row.number));
  if (breaking.length === 0) return;
  throw new PawlError(
    "bad_configuration",
    `The database is newer than this Pawl can work with (${breaking.map(({ name }) => name).join(", ")}): update Pawl`,
  );
}
