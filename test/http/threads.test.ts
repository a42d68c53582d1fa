/** Threads, as the stock client sees them: what they are, and how they are found. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ThreadId } from "../../lib/ids.ts";
import { refusal, type World, world } from "../threads/support.ts";

let w: World;
beforeAll(async () => {
  w = await world();
});
afterAll(() => w[Symbol.asyncDispose]());

const stranger = { tenant: "other", identity: null };
const search = (body: object) => w.app.request("/threads/search", { method: "POST", body: JSON.stringify(body) });

test("a new thread is idle and has no values yet", async () => {
  const thread = await w.client.threads.create({ metadata: { a: 1 }, graphId: "steps" });
  expect(thread).toEqual({
    thread_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    created_at: expect.stringMatching(/^\d{4}-.*Z$/),
    updated_at: expect.any(String),
    state_updated_at: expect.any(String),
    metadata: { a: 1, graph_id: "steps" },
    status: "idle",
    config: {},
    values: null,
    interrupts: {},
    error: null,
  });
  expect(await w.client.threads.get(thread.thread_id)).toEqual(thread);
});

test("an id can be used once, unless the client says that it does not mind", async () => {
  const threadId = randomUUID();
  const first = await w.client.threads.create({ threadId, metadata: { n: 1 } });
  expect(first.thread_id).toBe(threadId);
  expect(await refusal(w.client.threads.create({ threadId }))).toBe("409 already_exists");
  const again = await w.client.threads.create({ threadId, metadata: { n: 2 }, ifExists: "do_nothing" });
  expect(again).toEqual(first);
});

test("of several creates with one id at the same moment one makes the thread", async () => {
  const threadId = randomUUID();
  const outcomes = await Promise.all(Array.from({ length: 8 }, () => refusal(w.client.threads.create({ threadId }))));
  expect(outcomes.filter((outcome) => outcome === "accepted")).toHaveLength(1);
  expect(outcomes.filter((outcome) => outcome === "409 already_exists")).toHaveLength(7);
  const { rows } = await w.db.pool.query("select epoch from thread_owner where thread_id = $1", [threadId]);
  expect(rows).toEqual([{ epoch: "0" }]);
});

test("another tenant neither sees a thread nor gets its id", async () => {
  const threadId = ThreadId.parse((await w.client.threads.create()).thread_id);
  const notFound = { code: "thread_not_found" };
  await expect(w.threads.get(stranger, threadId)).rejects.toMatchObject(notFound);
  await expect(w.threads.patch(stranger, { threadId, metadata: {} })).rejects.toMatchObject(notFound);
  await expect(w.threads.delete(stranger, threadId)).rejects.toMatchObject(notFound);
  await expect(w.threads.state(stranger, { threadId })).rejects.toMatchObject(notFound);
  await expect(w.threads.copy(stranger, threadId)).rejects.toMatchObject({ code: "copy_source_missing" });
  await expect(w.threads.updateState(stranger, { threadId })).rejects.toMatchObject(notFound);
  await expect(w.threads.patchState(stranger, { threadId, metadata: {} })).rejects.toMatchObject(notFound);
  const mine = { code: "already_exists" };
  await expect(w.threads.create(stranger, { thread_id: threadId })).rejects.toMatchObject(mine);
  await expect(w.threads.create(stranger, { thread_id: threadId, if_exists: "do_nothing" })).rejects.toMatchObject(
    mine,
  );
  expect(await w.threads.count(stranger, {})).toBe(0);
  expect(await w.threads.prune(stranger, [threadId], "delete")).toBe(0);
});

test("a thread that is not there is 404, an id that is none is 422", async () => {
  for (const [method, path] of [
    ["GET", ""],
    ["PATCH", ""],
    ["DELETE", ""],
    ["GET", "/state"],
    ["POST", "/state"],
    ["GET", "/history"],
    ["POST", "/history"],
  ] as const) {
    const init = { method, ...(method !== "GET" && method !== "DELETE" && { body: "{}" }) };
    expect((await w.app.request(`/threads/${randomUUID()}${path}`, init)).status, `${method} ${path}`).toBe(404);
    expect((await w.app.request(`/threads/not-an-id${path}`, init)).status, `${method} ${path}`).toBe(422);
  }
  expect((await w.app.request("/threads", { method: "POST", body: '{"thread_id":"x"}' })).status).toBe(422);
});

test("a patch merges the top level of the metadata", async () => {
  const { thread_id } = await w.client.threads.create({ metadata: { kept: 1, deep: { a: 1 } } });
  const patched = await w.client.threads.update(thread_id, { metadata: { deep: { b: 2 }, fresh: true } });
  expect(patched.metadata).toEqual({ kept: 1, deep: { b: 2 }, fresh: true });
  expect(patched.updated_at > patched.created_at).toBe(true);
  expect(patched.state_updated_at).toBe(patched.created_at);
  // Nothing to merge is no mistake.
  const response = await w.app.request(`/threads/${thread_id}`, { method: "PATCH", body: '{"ttl":{"ttl":5}}' });
  expect(await response.json()).toMatchObject({ metadata: patched.metadata });
});

test("a patch that asks for nothing back gets nothing", async () => {
  const { thread_id } = await w.client.threads.create();
  const response = await w.app.request(`/threads/${thread_id}`, {
    method: "PATCH",
    headers: { prefer: "return=minimal" },
    body: '{"metadata":{"a":1}}',
  });
  expect([response.status, await response.text()]).toEqual([204, ""]);
  expect((await w.client.threads.get(thread_id)).metadata).toEqual({ a: 1 });
});

test("text that Postgres cannot keep does not fail a request", async () => {
  const { thread_id, metadata } = await w.client.threads.create({ metadata: { "k\0": "a\0b\ud800" } });
  expect(metadata).toEqual({ k: "ab\ufffd" });
  expect((await w.client.threads.update(thread_id, { metadata: { more: "\0" } })).metadata).toMatchObject({ more: "" });
  const found = await w.client.threads.search({ metadata: { k: "a\0b\ud800" } });
  expect(found.map((thread) => thread.thread_id)).toEqual([thread_id]);
});

test("a search goes page by page through all that match, newest change first", async () => {
  const made: string[] = [];
  for (let i = 0; i < 7; i++) {
    const { thread_id } = await w.client.threads.create({ metadata: { page: "test", tags: ["x", { deep: i }] } });
    made.push(thread_id);
  }
  await w.client.threads.update(made[2]!, { metadata: { touched: true } });
  const expected = [made[2], ...made.filter((_, i) => i !== 2).reverse()];
  const seen: string[] = [];
  let offset: string | null = "0";
  while (offset !== null) {
    const response = await search({ metadata: { page: "test" }, limit: 3, offset: Number(offset) });
    expect(response.headers.get("x-pagination-total")).toBe("7");
    seen.push(...((await response.json()) as { thread_id: string }[]).map((thread) => thread.thread_id));
    offset = response.headers.get("x-pagination-next");
  }
  expect(seen).toEqual(expected);
  const beyond = await search({ metadata: { page: "test" }, offset: 50 });
  expect([await beyond.json(), beyond.headers.get("x-pagination-total")]).toEqual([[], "7"]);

  const deep = { metadata: { tags: [{ deep: 4 }] } };
  expect((await w.client.threads.search(deep)).map((thread) => thread.thread_id)).toEqual([made[4]]);
  expect(await w.client.threads.count(deep)).toBe(1);
  expect(await w.client.threads.count({ metadata: { page: "test", tags: ["x"] } })).toBe(7);
  const chosen = await w.client.threads.search({
    ids: [made[1]!, made[0]!, randomUUID()],
    sortBy: "created_at",
    sortOrder: "asc",
  });
  expect(chosen.map((thread) => thread.thread_id)).toEqual([made[0], made[1]]);
  expect(await w.client.threads.search({ ids: [] })).toEqual([]);
});

test("a filter on values leaves out threads that have none, and one on the status works", async () => {
  const threadId = await w.threadAfter("asking", { count: 1 });
  await w.client.threads.updateState(threadId, { values: { count: 41 }, asNode: "__start__" });
  const empty = await w.client.threads.create();
  const found = await w.client.threads.search({ values: { count: 41 } });
  expect(found.map((thread) => thread.thread_id)).toEqual([threadId]);
  const all = await w.client.threads.search({ values: {}, limit: 1_000 });
  expect(all.map((thread) => thread.thread_id)).not.toContain(empty.thread_id);
  expect(await w.client.threads.count({ status: "interrupted", values: { count: 41 } })).toBe(1);
  expect(await w.client.threads.count({ status: "error" })).toBe(0);
});

test("a search returns the selected fields only", async () => {
  const { thread_id } = await w.client.threads.create({ metadata: { select: "me" } });
  const found = await w.client.threads.search({ metadata: { select: "me" }, select: ["thread_id", "values"] });
  expect(found).toEqual([{ thread_id, values: null }]);
});

test.each([
  { limit: 0 },
  { limit: 1_001 },
  { offset: -1 },
  { status: "odd" },
  { ids: ["x"] },
  { sort_by: "thread_id; drop table threads" },
  { sort_order: "random()" },
])("a search is refused with %j", async (body) => {
  const response = await search(body);
  expect(response.status).toBe(422);
  expect(await response.json()).toMatchObject({ code: "invalid_input" });
});

test("pruning deletes the threads that are there and counts them", async () => {
  const [a, b] = [await w.client.threads.create(), await w.client.threads.create()];
  const ids = [a.thread_id, randomUUID(), b.thread_id, a.thread_id];
  expect(await w.client.threads.prune(ids)).toEqual({ pruned_count: 2 });
  expect(await refusal(w.client.threads.get(a.thread_id))).toBe("404 thread_not_found");
});

test("pruning all but the newest state keeps that, and passes over a busy thread", async () => {
  const [idle, busy] = [await w.threadAfter("steps", { count: 1 }), await w.threadAfter("steps", { count: 1 })];
  const before = await w.client.threads.getState(idle);
  await w.createRun(busy, { assistant_id: "steps", input: { count: 2 } });

  const pruned = await w.client.threads.prune([idle, busy, randomUUID()], { strategy: "keep_latest" });

  expect(pruned).toEqual({ pruned_count: 1 });
  expect(await w.client.threads.getHistory(idle)).toEqual([before]);
  expect(await w.client.threads.getHistory(busy)).toHaveLength(4);
});
