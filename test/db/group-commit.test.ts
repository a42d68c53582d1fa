/** Writes of several threads in one transaction: together when they come together, and nobody pays for another. */
import { randomUUID } from "node:crypto";
import type { Pool } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type GroupedWrite, LAZY, writeGrouped } from "../../db/group-commit.ts";
import { createPool, type Queryable } from "../../db/pool.ts";
import { silent, type TestDatabase, testDatabase } from "../support/database.ts";

let db: TestDatabase;
/** Of connections whose commits wait for the disk, which those of other tests do not. */
let pool: Pool;
beforeAll(async () => {
  db = await testDatabase();
  await db.pool.query(`alter database ${db.connection.database} set synchronous_commit = on`);
  pool = createPool({ ...db.connection, max: 10, name: "test", log: silent });
  await db.pool.query(
    "create table written (thread text, what text, xact xid8 default pg_current_xact_id(), lazy boolean)",
  );
  await db.pool.query("create table lockable (thread text primary key)");
});
afterAll(async () => {
  await pool.end();
  await db[Symbol.asyncDispose]();
});

interface Row {
  readonly thread: string;
  readonly what: string;
  readonly xact: string;
  readonly lazy: boolean;
}

/** A write that needs the lock of its thread, where there is one. */
function writeOf(thread: string, what: string, options: Partial<GroupedWrite<string>> = {}): GroupedWrite<string> {
  const insert = (on: Queryable, { lazy, atOnce }: { lazy: boolean; atOnce: boolean }) =>
    on.query({
      text: `
        with locked as materialized (select from lockable where thread = $1 for update ${atOnce ? "skip locked" : ""}),
             allowed as materialized (
               select ${lazy ? LAZY : "null"} as set
                where exists (select from locked) or not exists (select from lockable where thread = $1))
        insert into written (thread, what, lazy)
        select $1, $2, current_setting('synchronous_commit') = 'off' from allowed`,
      values: [thread, what],
    });
  return {
    threadId: thread,
    size: 1_000,
    lazy: false,
    inGroup: async (tx, { lazy }) =>
      (await insert(tx, { lazy, atOnce: true })).rowCount === 1 ? "in a group" : undefined,
    alone: async () => {
      await insert(pool, { lazy: false, atOnce: false });
      return "alone";
    },
    ...options,
  };
}

const names = (count: number): string[] => Array.from({ length: count }, () => randomUUID());

async function writtenBy(threads: readonly string[]): Promise<Row[]> {
  const { rows } = await db.pool.query<Row>("select * from written where thread = any($1) order by what", [threads]);
  return rows;
}

test("what comes while others are under way is committed together, each once", async () => {
  const threads = names(50);
  const results = await Promise.all(threads.map((thread) => writeGrouped(pool, writeOf(thread, "x"))));
  expect(new Set(results)).toEqual(new Set(["in a group"]));
  const rows = await writtenBy(threads);
  expect(rows.map(({ thread }) => thread).toSorted()).toEqual(threads.toSorted());
  // The first two by themselves, then all the others, 32 at most at a time.
  expect(new Set(rows.map(({ xact }) => xact)).size).toBe(4);
});

test("writes of one thread are made one after the other, in transactions of their own", async () => {
  const [thread = ""] = names(1);
  const whats = ["a", "b", "c", "d"];
  await Promise.all(
    [...names(3), thread, thread, thread, thread].map((each, i) =>
      writeGrouped(pool, writeOf(each, whats[i - 3] ?? "")),
    ),
  );
  const rows = await writtenBy([thread]);
  expect(rows.map(({ what }) => what)).toEqual(whats);
  expect(new Set(rows.map(({ xact }) => xact)).size).toBe(4);
});

test("one that would have to wait for a lock is made by itself, and holds nobody up", async () => {
  const threads = names(8);
  const taken = threads[5] ?? "";
  await db.pool.query("insert into lockable values ($1)", [taken]);
  const holder = await db.pool.connect();
  await holder.query("begin");
  await holder.query("select from lockable where thread = $1 for update", [taken]);
  const results = threads.map((thread) => writeGrouped(pool, writeOf(thread, "x")));
  const others = await Promise.all(results.filter((_, i) => threads[i] !== taken));
  expect(new Set(others)).toEqual(new Set(["in a group"]));
  expect(await writtenBy([taken])).toEqual([]);
  await holder.query("commit");
  holder.release();
  expect(await results[5]).toBe("alone");
  expect(await writtenBy([taken])).toHaveLength(1);
});

test("one that fails gets its own error, and the others of its group are made all the same, once", async () => {
  const threads = names(6);
  const failing = threads[4] ?? "";
  const results = await Promise.allSettled(
    threads.map((thread) =>
      writeGrouped(
        pool,
        thread === failing
          ? writeOf(thread, "x", {
              inGroup: async (tx) => void (await tx.query("select 1 / 0")),
              alone: () => Promise.reject(new Error("its own")),
            })
          : writeOf(thread, "x"),
      ),
    ),
  );
  expect(results[4]).toMatchObject({ status: "rejected", reason: { message: "its own" } });
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(5);
  expect(await writtenBy(threads)).toHaveLength(5);
});

test("a group waits for the disk if one of it has to", async () => {
  const [lazy, lazier, strict] = [names(1), names(2), names(3)].map((threads) => threads.at(-1) ?? "");
  const ahead = names(2);
  const write = (thread = "", isLazy = false) => writeGrouped(pool, writeOf(thread, "x", { lazy: isLazy }));
  await Promise.all([...ahead.map((thread) => write(thread)), write(lazy, true), write(lazier, true)]);
  expect((await writtenBy([lazy!, lazier!])).map((row) => row.lazy)).toEqual([true, true]);
  await db.pool.query("delete from written");
  await Promise.all([...ahead.map((thread) => write(thread)), write(lazy, true), write(strict)]);
  expect((await writtenBy([lazy!, strict!])).map((row) => row.lazy)).toEqual([false, false]);
});

test("what is too large for a packet, and what comes behind groups that do not end, goes by itself", async () => {
  const [large = "", ...threads] = names(6);
  expect(await writeGrouped(pool, writeOf(large, "x", { size: 10_000_000 }))).toBe("alone");
  const ended = Promise.withResolvers<void>();
  const never: Partial<GroupedWrite<string>> = { inGroup: () => ended.promise.then(() => "late") };
  const stuck = threads.slice(0, 2).map((thread) => writeGrouped(pool, writeOf(thread, "x", never)));
  const behind = await Promise.all(threads.slice(2).map((thread) => writeGrouped(pool, writeOf(thread, "x"))));
  expect(new Set(behind)).toEqual(new Set(["in a group"]));
  ended.resolve();
  expect(await Promise.all(stuck)).toEqual(["late", "late"]);
});
