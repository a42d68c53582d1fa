import { expect, test } from "vitest";
import { drainOutbox, enqueue, type OutboxHandlers } from "../../db/outbox.ts";
import { transaction } from "../../db/pool.ts";
import { silent, testDatabase } from "../support/database.ts";

const entry = (n: number) => ({ tenant: "default", kind: "note", payload: { n } });

function recording(fail: () => boolean = () => false) {
  const delivered: unknown[] = [];
  const handlers: OutboxHandlers = {
    note: async ({ payload }) => {
      if (fail()) throw new Error("not now");
      delivered.push(payload["n"]);
    },
  };
  return { delivered, handlers };
}

test("an entry is delivered if its transaction commits, and only then, in order", async () => {
  await using db = await testDatabase();
  const { delivered, handlers } = recording();
  await transaction(db.pool, async (tx) => {
    await enqueue(tx, entry(1));
    await enqueue(tx, entry(2));
    await drainOutbox({ pool: db.pool, handlers, log: silent });
    expect(delivered).toEqual([]);
  });
  await transaction(db.pool, async (tx) => {
    await enqueue(tx, entry(3));
    throw new Error("undone");
  }).catch(() => {});
  await drainOutbox({ pool: db.pool, handlers, log: silent });
  expect(delivered).toEqual([1, 2]);
  expect((await db.pool.query("select from outbox")).rowCount).toBe(0);
});

test("two drainers deliver each entry once", async () => {
  await using db = await testDatabase();
  const { delivered, handlers } = recording();
  for (let n = 0; n < 20; n++) await enqueue(db.pool, entry(n));
  await Promise.all([1, 2, 3].map(() => drainOutbox({ pool: db.pool, handlers, log: silent })));
  expect(delivered.map(Number).toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, n) => n));
});

test("a failed delivery is tried again later, and after the last attempt left for a human", async () => {
  await using db = await testDatabase();
  let isBroken = true;
  const { delivered, handlers } = recording(() => isBroken);
  await enqueue(db.pool, entry(1));
  await drainOutbox({ pool: db.pool, handlers, log: silent });
  const { rows } = await db.pool.query("select attempts, last_error, due_at > now() as is_later from outbox");
  expect(rows).toEqual([{ attempts: 1, last_error: "not now", is_later: true }]);
  await db.pool.query("update outbox set due_at = now(), attempts = 9");
  await drainOutbox({ pool: db.pool, handlers, log: silent });
  expect((await db.pool.query("select from outbox where failed_at is not null")).rowCount).toBe(1);
  isBroken = false;
  await drainOutbox({ pool: db.pool, handlers, log: silent });
  expect(delivered).toEqual([]);
});

test("an entry of a kind that this process does not know is left to others", async () => {
  await using db = await testDatabase();
  await enqueue(db.pool, entry(1));
  await drainOutbox({ pool: db.pool, handlers: { other: async () => {} }, log: silent });
  expect((await db.pool.query("select from outbox")).rowCount).toBe(1);
});
