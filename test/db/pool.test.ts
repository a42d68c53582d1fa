import { expect, test, vi } from "vitest";
import { readDatabasePosition } from "../../db/database-identity.ts";
import { isConnectionError } from "../../db/connection-error.ts";
import { createPool, openedTransaction, type Queryable, transaction, transactionAtOnce } from "../../db/pool.ts";
import { silent, testDatabase, testServer } from "../support/database.ts";

test("a transaction that throws leaves nothing behind and gives its connection back", async () => {
  await using db = await testDatabase({ max: 1 });
  await db.pool.query("create table things (id integer)");
  const failing = transaction(db.pool, async (tx) => {
    await tx.query("insert into things values (1)");
    throw new Error("changed my mind");
  });
  await expect(failing).rejects.toThrow("changed my mind");
  await transaction(db.pool, (tx) => tx.query("insert into things values (2)"));
  expect((await db.pool.query("select id from things")).rows).toEqual([{ id: 2 }]);
});

test("of statements that travel together all count or none, and the connection goes on", async () => {
  await using db = await testDatabase({ max: 1 });
  await db.pool.query("create table things (id integer primary key)");
  const insert = (tx: Queryable, id: number) => tx.query("insert into things values ($1)", [id]);
  const both = (one: number, two: number) =>
    transactionAtOnce(db.pool, (tx) => Promise.all([insert(tx, one), insert(tx, two)]));
  await expect(both(1, 1)).rejects.toThrow("duplicate key");
  await both(2, 3);
  await expect(both(4, 2)).rejects.toThrow("duplicate key");
  expect((await db.pool.query("select id from things order by id")).rows).toEqual([{ id: 2 }, { id: 3 }]);
});

test("a connection that is lost in a transaction is thrown away, and the process lives", async () => {
  await using db = await testDatabase({ max: 1 });
  const lost = transaction(db.pool, (tx) => tx.query("select pg_terminate_backend(pg_backend_pid())"));
  await expect(lost).rejects.toThrow();
  expect((await db.pool.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
});

test("who gets no connection in time is refused", async () => {
  await using db = await testDatabase();
  const pool = createPool({ ...db.connection, max: 1, name: "exhausted", log: silent });
  const held = await pool.connect();
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const waiting = Promise.allSettled([pool.query("select 1"), pool.connect()]);
  vi.advanceTimersByTime(10_000);
  vi.useRealTimers();
  const [query, client] = await waiting;
  held.release();
  await pool.end();
  expect(query).toMatchObject({ status: "rejected", reason: { code: "database_unavailable" } });
  expect(client).toMatchObject({ status: "rejected", reason: { code: "database_unavailable" } });
});

test("the time-outs reach the server", async () => {
  await using db = await testDatabase();
  const { rows } = await db.pool.query(
    "select current_setting('statement_timeout') as statement, current_setting('idle_in_transaction_session_timeout') as idle",
  );
  expect(rows).toEqual([{ statement: "1min", idle: "1min" }]);
});

test("a transaction in which nothing happens is ended with its locks, and that counts as a lost connection", async () => {
  await using db = await testDatabase();
  await db.pool.query("create table things (id integer)");
  const stopped = createPool({ ...db.connection, max: 1, name: "stopped", log: silent, idleTransactionMs: 50 });
  const entered = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const held = transaction(stopped, async (tx) => {
    await tx.query("lock table things");
    entered.resolve();
    await goOn.promise;
    await tx.query("insert into things values (1)");
  }).catch((error: unknown) => error);
  await entered.promise;
  await db.pool.query("insert into things values (2)"); // waits for the lock
  goOn.resolve();
  expect(isConnectionError(await held)).toBe(true);
  await stopped.end();
  expect((await db.pool.query("select id from things")).rows).toEqual([{ id: 2 }]);
});

test("whoever loses the connection under a statement is told by a code, in a transaction and outside of one", async () => {
  await using db = await testDatabase();
  const pool = createPool({ ...db.connection, max: 3, name: "cut", log: silent });
  const kill = { text: "select pg_terminate_backend(pg_backend_pid())" };
  const lost = await Promise.allSettled([
    pool.query(kill),
    transaction(pool, (tx) => tx.query(kill)),
    transaction(pool, (tx) => tx.commitWith(kill)),
    openedTransaction(
      pool,
      (tx) => tx.query(kill),
      async () => {},
    ),
    transactionAtOnce(pool, (tx) => tx.query(kill)),
  ]);
  await pool.end();
  for (const each of lost) expect(each).toMatchObject({ reason: { code: "database_unavailable" } });
  await expect(db.pool.query("select 1 / 0")).rejects.toMatchObject({ code: "22012" });
});

test("where a database is can be sent to a thread", async () => {
  await using db = await testDatabase();
  expect(structuredClone(db.connection)).toEqual(db.connection);
});

test("an int8 comes back as text, since a number could not hold it", async () => {
  await using db = await testDatabase();
  const { rows } = await db.pool.query("select 9007199254740993::int8 as n");
  expect(rows).toEqual([{ n: "9007199254740993" }]);
});

test("a restart leaves the identity of a database as it was, and another database has another", async () => {
  await using db = await testDatabase();
  await using server = await testServer();
  const identify = async (): Promise<unknown> => {
    const pool = createPool({ ...server.connection, max: 1, name: "identify", log: silent });
    try {
      return await identityOf(pool);
    } finally {
      await pool.end();
    }
  };
  const before = await identify();
  await server.restart();
  expect(await identify()).toEqual(before);
  expect(await identityOf(db.pool)).not.toEqual(before);
});

test("what a client gets to read of a database that is away names no place", async () => {
  const pool = createPool({ host: "/no/such/folder", user: "somebody", max: 1, name: "away", log: silent });
  const [query, client] = await Promise.allSettled([pool.query("select 1"), pool.connect()]);
  await pool.end();
  for (const outcome of [query, client]) {
    expect(outcome).toMatchObject({
      status: "rejected",
      reason: { code: "database_unavailable", message: "The database cannot be reached" },
    });
  }
});

async function identityOf(db: Queryable): Promise<unknown> {
  const { systemIdentifier, timelineId } = (await readDatabasePosition(db)) ?? {};
  return { systemIdentifier, timelineId };
}
