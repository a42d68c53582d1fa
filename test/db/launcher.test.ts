import { once } from "node:events";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { chmod, cp, lstat, mkdir, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "pg";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { installedPackage } from "../../db/embedded/binaries.ts";
import { type EmbeddedPostgres, startEmbedded } from "../../db/embedded/launch.ts";
import { createPool } from "../../db/pool.ts";
import type { PawlError } from "../../lib/errors.ts";
import { postmasterPid, silent as log } from "../support/database.ts";
import { type Folder, query, spawnOwner, spawnOwnerWithoutNamespaces, temporaryFolder } from "./launcher-support.ts";

let made: Folder;

beforeAll(async () => {
  made = await temporaryFolder();
  const postgres = await startEmbedded({ dataDir: made.path, log, unsafe: true });
  await postgres.stop();
});

afterAll(() => made[Symbol.asyncDispose]());

/** A folder where Postgres ran before: faster than making the database again. */
async function folderWithData(): Promise<Folder> {
  const folder = await temporaryFolder();
  await cp(join(made.path, "postgres"), join(folder.path, "postgres"), { recursive: true });
  return folder;
}

const exitOf = (postgres: EmbeddedPostgres): Promise<PawlError> => new Promise((resolve) => postgres.onExit(resolve));

test("data survive a restart, in a folder that only its owner can enter", async () => {
  await using folder = await temporaryFolder();
  const first = await startEmbedded({ dataDir: folder.path, log });
  await query(first.connection, "create table kept as select 42 as answer");
  await first.stop();

  const began = performance.now();
  const second = await startEmbedded({ dataDir: folder.path, log });
  const warmStart = performance.now() - began;
  expect(await query(second.connection, "select answer from kept")).toEqual([{ answer: 42 }]);
  await second.stop();
  expect(warmStart).toBeLessThan(2_000); // measured: about 90 ms; the bound leaves room for a busy machine
});

test("nobody but its user can reach the socket, and nothing listens on TCP", async () => {
  await using folder = await folderWithData();
  const postgres = await startEmbedded({ dataDir: folder.path, log, unsafe: true });
  expect(statSync(postgres.connection.host ?? "").mode & 0o077).toBe(0);
  expect(await query(postgres.connection, "show listen_addresses")).toEqual([{ listen_addresses: "" }]);
  await postgres.stop();
});

test("it is durable unless told otherwise", async () => {
  await using folder = await folderWithData();
  const postgres = await startEmbedded({ dataDir: folder.path, log });
  expect(
    await query(
      postgres.connection,
      `select name, setting from pg_settings where name in ('fsync', 'full_page_writes', 'synchronous_commit') order by 1`,
    ),
  ).toEqual([
    { name: "fsync", setting: "on" },
    { name: "full_page_writes", setting: "on" },
    { name: "synchronous_commit", setting: "on" },
  ]);
  await postgres.stop();
});

test("an ordinary user can run it", async () => {
  await using folder = await temporaryFolder();
  const owner = await spawnOwner(folder.path, "ordinary user");
  expect(owner.uid).not.toBe(0);
  expect(await query(owner.connection, "select 1 as one")).toEqual([{ one: 1 }]);
  owner.process.stdin.write("stop\n");
  expect(await once(owner.process, "exit")).toEqual([0, null]);
});

test("root can run it where no user namespace is allowed, from programs that only root can reach", async () => {
  await using folder = await temporaryFolder();
  await using hidden = await temporaryFolder();
  await chmod(folder.path, 0o755); // the user `nobody` must get in
  const packageRoot = join(hidden.path, "package");
  await symlink(installedPackage(), packageRoot);
  const owner = await spawnOwnerWithoutNamespaces(folder.path, packageRoot);
  expect(statSync(join(folder.path, "postgres")).uid).not.toBe(0);
  expect(await query(owner.connection, "select 1 as one")).toEqual([{ one: 1 }]);
  owner.process.stdin.write("stop\n");
  expect(await once(owner.process, "exit")).toEqual([0, null]);

  const later = await startEmbedded({ dataDir: folder.path, log });
  expect(await query(later.connection, "select 1 as one"), "and later where they are").toEqual([{ one: 1 }]);
  await later.stop();
});

test("a folder too deep for a socket address will do", async () => {
  await using folder = await temporaryFolder();
  const dataDir = join(folder.path, "deep".repeat(20), "deeper".repeat(20));
  const postgres = await startEmbedded({ dataDir, log, unsafe: true });
  expect(await query(postgres.connection, "select 1 as one")).toEqual([{ one: 1 }]);
  await postgres.stop();
  await rm(postgres.connection.host ?? "", { recursive: true });
});

test("libraries are found where npm ran no install scripts", async () => {
  await using folder = await temporaryFolder();
  const packageRoot = join(folder.path, "package");
  const withoutLinks = async (path: string): Promise<boolean> => !(await lstat(path)).isSymbolicLink();
  await cp(installedPackage(), packageRoot, { recursive: true, filter: withoutLinks });
  const postgres = await startEmbedded({ dataDir: join(folder.path, "data"), log, unsafe: true, packageRoot });
  expect(await query(postgres.connection, "select 1 as one")).toEqual([{ one: 1 }]);
  await postgres.stop();
});

test("a second process on the same data is refused", async () => {
  await using folder = await folderWithData();
  const first = await startEmbedded({ dataDir: folder.path, log, unsafe: true });
  await expect(startEmbedded({ dataDir: folder.path, log, unsafe: true })).rejects.toMatchObject({
    code: "bad_configuration",
    message: expect.stringContaining("Another Pawl runs on this data directory"),
  });
  expect(await query(first.connection, "select 1 as one"), "and the first goes on").toEqual([{ one: 1 }]);
  await first.stop();
});

test("of several processes that make the same database at once, one wins and the others are refused", async () => {
  await using folder = await temporaryFolder();
  const starts = await Promise.allSettled(
    Array.from({ length: 3 }, () => startEmbedded({ dataDir: folder.path, log, unsafe: true })),
  );
  const winners = starts.filter((start) => start.status === "fulfilled");
  const losers = starts.filter((start) => start.status === "rejected");
  await Promise.all(winners.map(({ value }) => value.stop()));
  expect(winners).toHaveLength(1);
  for (const { reason } of losers) expect(reason).toMatchObject({ code: "bad_configuration" });
});

test("after its process was killed, the next one takes the data over", async () => {
  await using folder = await folderWithData();
  const owner = await spawnOwner(folder.path);
  await query(owner.connection, "create table kept as select 42 as answer");
  const orphan = postmasterPid(folder.path);
  owner.process.kill("SIGKILL");
  await once(owner.process, "exit");

  const next = await startEmbedded({ dataDir: folder.path, log });
  expect(postmasterPid(folder.path)).not.toBe(orphan);
  expect(await query(next.connection, "select answer from kept")).toEqual([{ answer: 42 }]);
  await next.stop();
});

test("a pid file whose pid went to another process is no obstacle", async () => {
  await using folder = await folderWithData();
  const first = await startEmbedded({ dataDir: folder.path, log, unsafe: true });
  const pidFile = join(folder.path, "postgres", "postmaster.pid");
  const left = readFileSync(pidFile, "utf8");
  const exit = exitOf(first);
  process.kill(postmasterPid(folder.path), "SIGKILL");
  await exit;
  writeFileSync(pidFile, left.replace(/^\d+/, String(process.pid)));

  const second = await startEmbedded({ dataDir: folder.path, log, unsafe: true });
  expect(await query(second.connection, "select 1 as one")).toEqual([{ one: 1 }]);
  await second.stop();
});

test("its end is reported when nobody asked for it, and only then", async () => {
  await using folder = await folderWithData();
  const killed = await startEmbedded({ dataDir: folder.path, log, unsafe: true });
  const exit = exitOf(killed);
  process.kill(postmasterPid(folder.path), "SIGKILL");
  await expect(exit).resolves.toMatchObject({
    code: "database_unavailable",
    message: expect.stringContaining("SIGKILL"),
  });
  await killed.stop();

  const stopped = await startEmbedded({ dataDir: folder.path, log, unsafe: true });
  let reported = false;
  stopped.onExit(() => (reported = true));
  await stopped.stop();
  expect(reported).toBe(false);
});

test("it stays ours when one of its sessions crashes and drops all connections", async () => {
  await using folder = await folderWithData();
  const postgres = await startEmbedded({ dataDir: folder.path, log, unsafe: true });
  const pool = createPool({ ...postgres.connection, max: 1, name: "victim", log });
  const { rows } = await pool.query<{ pid: number }>("select pg_backend_pid() as pid");
  const dropped = new Promise((resolve) => pool.once("error", resolve));
  process.kill(rows[0]!.pid, "SIGKILL");
  await dropped;
  await pool.end();
  await vi.waitFor(async () => {
    expect(await query(postgres.connection, "select from pg_locks where locktype = 'advisory'")).toHaveLength(1);
  });
  await expect(startEmbedded({ dataDir: folder.path, log, unsafe: true })).rejects.toMatchObject({
    code: "bad_configuration",
  });
  await postgres.stop();
});

test("it stops while statements are running", async () => {
  await using folder = await folderWithData();
  const postgres = await startEmbedded({ dataDir: folder.path, log, unsafe: true });
  const client = new Client(postgres.connection);
  client.on("error", () => {}); // the statement under way rejects too
  await client.connect();
  const running = new Promise((resolve) => client.once("notice", resolve));
  const busy = expect(client.query("do $$ begin raise notice 'running'; perform pg_sleep(60); end $$")).rejects.toThrow(
    "terminating connection",
  );
  await running;
  await postgres.stop();
  await busy;
});

test("data of another major version are refused", async () => {
  await using folder = await temporaryFolder();
  await mkdir(join(folder.path, "postgres"), { mode: 0o700 });
  writeFileSync(join(folder.path, "postgres", "PG_VERSION"), "12\n");
  await expect(startEmbedded({ dataDir: folder.path, log, unsafe: true })).rejects.toMatchObject({
    code: "bad_configuration",
    message: expect.stringContaining("was written by Postgres 12"),
  });
});
