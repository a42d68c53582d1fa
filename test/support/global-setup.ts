/** One Postgres for the whole test run, without fsync, and in it a migrated database to copy. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { startEmbedded } from "../../db/embedded/launch.ts";
import { type ConnectTo, createPool } from "../../db/pool.ts";
import { createLog } from "../../lib/log.ts";
import { prepareSchema, TEMPLATE } from "./schema.ts";

declare module "vitest" {
  interface ProvidedContext {
    postgres: ConnectTo;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dataDir = await mkdtemp(join(tmpdir(), "pawl-test-"));
  const log = createLog("warn");
  const postgres = await startEmbedded({ dataDir, log, unsafe: true });
  const pool = createPool({ ...postgres.connection, max: 1, name: "global-setup", log });
  await pool.query(`create database ${TEMPLATE}`);
  await prepareSchema({ ...postgres.connection, database: TEMPLATE });
  await pool.query(`alter database ${TEMPLATE} with is_template true allow_connections false`);
  await pool.end();
  project.provide("postgres", postgres.connection);
  const tearDown = async (): Promise<void> => {
    await postgres.stop();
    await rm(dataDir, { recursive: true, force: true });
  };
  // Vitest ends at once on SIGTERM (a time-out of whoever started it), and no later run would find this Postgres.
  const onTerminate = (): void => void tearDown().finally(() => process.exit(143));
  process.once("SIGTERM", onTerminate);
  return () => {
    process.off("SIGTERM", onTerminate);
    return tearDown();
  };
}
