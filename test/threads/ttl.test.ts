import type pg from "pg";
import { expect, test } from "vitest";
import { localPrincipal } from "../../lib/principal.ts";
import { expireThreads } from "../../runs/threads/expire.ts";
import { createThreads } from "../../runs/threads/threads.ts";
import { silent } from "../support/database.ts";
import { world } from "./support.ts";

/** Puts the last change of a thread so many minutes back. */
async function age(pool: pg.Pool, threadId: string, minutes: number): Promise<void> {
  await pool.query("update threads set updated_at = now() - make_interval(secs => $2 * 60) where thread_id = $1", [
    threadId,
    minutes,
  ]);
}

async function rowsOf(pool: pg.Pool, threadId: string): Promise<Record<string, number>> {
  const tables = [
    "threads",
    "thread_owner",
    "runs",
    "checkpoints",
    "checkpoint_blobs",
    "checkpoint_writes",
    "checkpoint_items",
  ];
  const counts = tables.map(async (table): Promise<[string, number]> => {
    const { rows } = await pool.query(`select count(*)::int as n from ${table} where thread_id::text = $1`, [threadId]);
    return [table, rows[0].n];
  });
  return Object.fromEntries(await Promise.all(counts));
}

const shownTtl = async (w: Awaited<ReturnType<typeof world>>, threadId: string): Promise<unknown> => {
  const answer = await w.app.request(`/threads/${threadId}?include=ttl`);
  return ((await answer.json()) as { ttl?: unknown }).ttl;
};

test("a thread's time is given at its creation, shown when asked for, and changed or taken away by a patch", async () => {
  await using w = await world();
  const { thread_id, ...thread } = await w.client.threads.create({ ttl: 90 });

  expect(thread).not.toHaveProperty("ttl");
  expect(await w.client.threads.get(thread_id)).not.toHaveProperty("ttl");
  const { updated_at } = await w.client.threads.get(thread_id);
  const expires_at = new Date(Date.parse(updated_at) + 90 * 60_000).toISOString();
  expect(await shownTtl(w, thread_id)).toEqual({ strategy: "delete", ttl_minutes: 90, expires_at });

  await w.app.request(`/threads/${thread_id}`, {
    method: "PATCH",
    body: '{"ttl":{"ttl":0.5,"strategy":"keep_latest"}}',
  });
  expect(await shownTtl(w, thread_id)).toMatchObject({ strategy: "keep_latest", ttl_minutes: 0.5 });

  await w.client.threads.update(thread_id, { metadata: { a: 1 } });
  expect(await shownTtl(w, thread_id)).toMatchObject({ strategy: "keep_latest", ttl_minutes: 0.5 });

  await w.app.request(`/threads/${thread_id}`, { method: "PATCH", body: '{"ttl":null}' });
  expect(await shownTtl(w, thread_id)).toBeNull();
});

test.each([0, -1, 1e9, "60", { ttl: 5, strategy: "archive" }, {}])("a time of %j is refused", async (ttl) => {
  await using w = await world();
  const answer = await w.app.request("/threads", { method: "POST", body: JSON.stringify({ ttl }) });
  expect(answer.status).toBe(422);
});

test("new threads get the project's time, unless they are given one", async () => {
  await using w = await world();
  const threads = createThreads({ pool: w.db.pool, graphs: w.graphs, defaultTtl: { ttl: 7, strategy: "keep_latest" } });
  const [given, not] = [
    await threads.create(localPrincipal, { ttl: { ttl: 1, strategy: "delete" } }),
    await threads.create(localPrincipal, {}),
  ];

  expect(await threads.ttl(localPrincipal, given.thread_id)).toMatchObject({ ttl_minutes: 1, strategy: "delete" });
  expect(await threads.ttl(localPrincipal, not.thread_id)).toMatchObject({ ttl_minutes: 7, strategy: "keep_latest" });
});

test("a thread whose time is over goes with all that is on it, and no other does", async () => {
  await using w = await world();
  const over = await w.threadAfter("steps", {});
  const [young, without] = [await w.threadAfter("steps", {}), await w.threadAfter("steps", {})];
  for (const id of [over, young]) await w.client.threads.update(id, { ttl: 10 });
  for (const [id, minutes] of [
    [over, 11],
    [young, 9],
    [without, 1_000],
  ] as const)
    await age(w.db.pool, id, minutes);

  expect(await expireThreads(w.db.pool, silent)).toBe(1);

  expect(new Set(Object.values(await rowsOf(w.db.pool, over)))).toEqual(new Set([0]));
  for (const id of [young, without]) expect(await rowsOf(w.db.pool, id)).toMatchObject({ threads: 1, thread_owner: 1 });
});

test("a thread with a run under way, or one that waits for an answer, stays whatever its time", async () => {
  await using w = await world();
  const busy = await w.threadAfter("steps", {});
  const waiting = await w.threadAfter("steps", {});
  for (const id of [busy, waiting]) await w.client.threads.update(id, { ttl: 1 });
  await w.createRun(busy, { assistant_id: "steps" });
  await w.db.pool.query("update threads set status = 'interrupted', rest_status = 'interrupted' where thread_id = $1", [
    waiting,
  ]);
  for (const id of [busy, waiting]) await age(w.db.pool, id, 100);

  expect(await expireThreads(w.db.pool, silent)).toBe(0);
});

test("two processes that look at the same moment end each thread once", async () => {
  await using w = await world();
  for (let i = 0; i < 6; i++) {
    const { thread_id } = await w.client.threads.create({ ttl: 1 });
    await age(w.db.pool, thread_id, 5);
  }

  const ended = await Promise.all([expireThreads(w.db.pool, silent), expireThreads(w.db.pool, silent)]);

  expect(ended.reduce((sum, n) => sum + n, 0)).toBe(6);
  expect((await w.db.pool.query("select from outbox where kind = 'thread_deleted'")).rowCount).toBe(6);
});

test("a thread that keeps its newest state loses its history once, and goes on from there", async () => {
  await using w = await world();
  const id = await w.threadAfter("steps", {});
  await w.app.request(`/threads/${id}`, { method: "PATCH", body: '{"ttl":{"ttl":1,"strategy":"keep_latest"}}' });
  const state = await w.client.threads.getState(id);
  await age(w.db.pool, id, 5);

  expect(await expireThreads(w.db.pool, silent)).toBe(1);
  expect(await expireThreads(w.db.pool, silent)).toBe(0);

  expect(await w.client.threads.getState(id)).toEqual(state);
  expect(await w.client.threads.getHistory(id)).toHaveLength(1);
  await w.invoke("steps", id, {});
  expect((await w.client.threads.getHistory(id)).length).toBeGreaterThan(1);
});

test.each(["delete", "keep_latest"] as const)(
  "a thread that comes to life between the look and its end stays (%s)",
  async (strategy) => {
    await using w = await world();
    const id = await w.threadAfter("steps", {});
    await w.app.request(`/threads/${id}`, { method: "PATCH", body: JSON.stringify({ ttl: { ttl: 1, strategy } }) });
    await age(w.db.pool, id, 100);
    const before = await rowsOf(w.db.pool, id);
    let cameToLife = false;
    const pool = new Proxy(w.db.pool, {
      get: (of, key) => {
        if (key !== "connect") return Reflect.get(of, key).bind(of) as unknown;
        return async () => {
          await age(w.db.pool, id, 0);
          cameToLife = true;
          return of.connect();
        };
      },
    });

    expect(await expireThreads(pool, silent)).toBe(0);

    expect(cameToLife).toBe(true);
    expect(await rowsOf(w.db.pool, id)).toEqual(before);
  },
);
