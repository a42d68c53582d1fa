/** Whether a database is noticed to be another one; test/fault/restore.test.ts does it with real restores. */
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { DatabaseHistory, openDatabaseHistory } from "../../db/database-history.ts";
import { readDatabasePosition } from "../../db/database-identity.ts";
import { type ConnectTo, createPool, type Gate } from "../../db/pool.ts";
import { createLog } from "../../lib/log.ts";
import { postmasterPid, silent, testDatabase } from "../support/database.ts";
import { startEmbedded } from "../../db/embedded/launch.ts";

const gone = { code: "database_changed", message: expect.stringContaining("pawl migrate --restored") };

test("the first process records which database it is, any number at once, and the next ones compare", async () => {
  await using db = await testDatabase();
  await Promise.all(Array.from({ length: 8 }, () => openDatabaseHistory(db.pool, silent)));
  const { rows } = await db.pool.query("select system_identifier, timeline_id::int, restores from database_history");
  const live = await readDatabasePosition(db.pool);
  expect(rows).toEqual([{ system_identifier: live?.systemIdentifier, timeline_id: live?.timelineId, restores: 0 }]);
  await db.pool.query("update database_history set system_identifier = '4711'"); // as in a dump of another cluster
  await expect(openDatabaseHistory(db.pool, silent)).rejects.toMatchObject(gone);
});

test("a database that was changed gives out no connection, neither a new one nor one that was open before", async () => {
  await using db = await testDatabase();
  const live = (await readDatabasePosition(db.pool))!;
  const history = new DatabaseHistory({ ...live, timelineId: live.timelineId + 1 });
  const told = new Promise((resolve) => history.onChanged(resolve));
  await using early = pool(db.connection, { refusal: undefined, verify: async () => {} });
  await early.pool.query("select");
  await using guarded = pool(db.connection, history);
  await expect(guarded.pool.query("select")).rejects.toMatchObject(gone);
  await expect(told).resolves.toMatchObject(gone);
  await expect(guarded.pool.connect()).rejects.toMatchObject(gone);
  await expect(history.verify(early.pool)).rejects.toMatchObject(gone);
});

test("a copy of the files that was put back is noticed by its shorter log, and a crash is not taken for one", async () => {
  const [dataDir, copy] = await Promise.all(["data", "copy"].map((name) => mkdtemp(join(tmpdir(), `pawl-${name}-`))));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => Promise.all([dataDir, copy].map((folder) => rm(folder!, { recursive: true }))).then(() => {}));
  const start = async (folder: string) => {
    const postgres = await startEmbedded({ dataDir: folder, log: silent, unsafe: true });
    return stack.use({ ...pool(postgres.connection), postgres, [Symbol.asyncDispose]: () => postgres.stop() });
  };
  const original = await start(dataDir!);
  await original.postgres.stop();
  await cp(join(dataDir!, "postgres"), join(copy!, "postgres"), { recursive: true });

  const first = await start(dataDir!);
  const history = new DatabaseHistory(await readDatabasePosition(first.pool));
  await first.pool.query(
    "set synchronous_commit = on; select pg_logical_emit_message(true, 'filler', repeat('x', 100000)) from generate_series(1, 50)",
  );
  await history.verify(first.pool);
  const died = new Promise((resolve) => first.postgres.onExit(resolve));
  process.kill(postmasterPid(dataDir!), "SIGQUIT");
  await died;
  const again = await start(dataDir!);
  await history.verify(again.pool);
  const restored = await start(copy!);
  await expect(history.verify(restored.pool)).rejects.toMatchObject({
    code: "database_changed",
    message: expect.stringContaining("and shorter"),
  });
});

test("a Postgres that keeps to itself which one it is can be used, and that is said once", async () => {
  await using db = await testDatabase();
  await db.pool.query("revoke execute on function pg_control_system() from public");
  const role = `keeper_${process.pid}`;
  await db.pool.query(`create role ${role} login; grant all on database_history to ${role}`);
  const log = createLog("silent");
  const warn = vi.spyOn(log, "warn");
  {
    await using asRole = pool({ ...db.connection, user: role });
    const history = await openDatabaseHistory(asRole.pool, log);
    await history.verify(asRole.pool);
  }
  expect(warn.mock.calls).toEqual([[{}, expect.stringMatching(/will not be noticed/)]]);
  await db.pool.query(`drop owned by ${role}; drop role ${role}`);
});

function pool(connection: ConnectTo, gate?: Gate) {
  const opened = createPool({ ...connection, max: 2, name: "test", log: silent, ...(gate && { gate }) });
  return { pool: opened, [Symbol.asyncDispose]: () => opened.end() };
}
