import { randomUUID } from "node:crypto";
import type pg from "pg";
import { expect, test } from "vitest";
import { pendingQuestions } from "../../checkpoints/questions.ts";
import { Saver } from "../../checkpoints/saver.ts";
import { copyThreadCheckpoints, deleteRunCheckpoints, deleteThreadCheckpoints } from "../../checkpoints/thread-data.ts";
import { testDatabase } from "../support/database.ts";
import { asking, count, gather, nested, newThread, runOn, saying } from "./support.ts";

const tables = ["checkpoints", "checkpoint_blobs", "checkpoint_writes"];

const counts = (pool: pg.Pool, threadId: string) => Promise.all(tables.map((table) => count(pool, table, threadId)));

test("deleting a thread's checkpoints leaves nothing of it, and all of the others", async () => {
  await using db = await testDatabase();
  const [gone, kept] = [await newThread(db.pool), await newThread(db.pool)];
  for (const owner of [gone, kept]) await nested(asking("?")).invoke({}, runOn(db.pool, owner).config);
  const before = await counts(db.pool, kept.thread_id);

  await deleteThreadCheckpoints(db.pool, gone.thread_id);

  expect(await counts(db.pool, gone.thread_id)).toEqual([0, 0, 0]);
  expect(await counts(db.pool, kept.thread_id)).toEqual(before);
});

test("deleting a run's checkpoints takes the thread back to where it was, in all namespaces", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const first = runOn(db.pool, owner);
  await saying("a", "b").invoke({}, first.config);
  const state = await saying("a", "b").getState(first.config);
  const before = await counts(db.pool, owner.thread_id);
  const second = runOn(db.pool, owner);
  await nested(asking("?")).invoke({ said: ["c"] }, second.config);

  await deleteRunCheckpoints(db.pool, owner.thread_id, second.runId);

  expect(await counts(db.pool, owner.thread_id)).toEqual(before);
  expect(await saying("a", "b").getState(first.config)).toEqual(state);
  expect(await pendingQuestions(new Saver(db.pool), { thread_id: owner.thread_id })).toEqual([]);
});

test("a run after a rollback has its own values, not those that were rolled back", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const graph = saying("a", "b", "c", "d", "e", "f");
  await graph.invoke({ said: ["1", "2", "3", "4"] }, runOn(db.pool, owner).config);
  const rolledBack = runOn(db.pool, owner);
  await graph.invoke({ said: ["rolled back"] }, rolledBack.config);

  await deleteRunCheckpoints(db.pool, owner.thread_id, rolledBack.runId);
  const outcome = await graph.invoke({ said: ["second"] }, runOn(db.pool, owner).config);

  expect(outcome).toEqual({ said: ["1", "2", "3", "4", "e", "f", "second", undefined] });
});

test("deleting a run that stored nothing changes nothing", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  await saying("a").invoke({}, runOn(db.pool, owner).config);
  const before = await counts(db.pool, owner.thread_id);

  await deleteRunCheckpoints(db.pool, owner.thread_id, randomUUID());

  expect(await counts(db.pool, owner.thread_id)).toEqual(before);
});

test("a copy has the same history under its own thread id, in the same order", async () => {
  await using db = await testDatabase();
  const [from, to] = [await newThread(db.pool), await newThread(db.pool)];
  await nested(saying("a", "b")).invoke({}, runOn(db.pool, from).config);

  await copyThreadCheckpoints(db.pool, from.thread_id, to.thread_id);

  const list = (thread_id: string) => gather(new Saver(db.pool).list({ configurable: { thread_id } }));
  const renamed = JSON.stringify(await list(from.thread_id)).replaceAll(from.thread_id, to.thread_id);
  expect(JSON.stringify(await list(to.thread_id))).toBe(renamed);
  expect(await counts(db.pool, to.thread_id)).toEqual(await counts(db.pool, from.thread_id));
});

test("running a copy leaves the original as it was", async () => {
  await using db = await testDatabase();
  const [from, to] = [await newThread(db.pool), await newThread(db.pool)];
  const original = runOn(db.pool, from);
  await asking("one?").invoke({}, original.config);
  await copyThreadCheckpoints(db.pool, from.thread_id, to.thread_id);
  const state = await asking("one?").getState(original.config);
  const before = await counts(db.pool, from.thread_id);

  await saying("x", "y").invoke({ said: ["copy"] }, runOn(db.pool, to).config);

  expect(await asking("one?").getState(original.config)).toEqual(state);
  expect(await counts(db.pool, from.thread_id)).toEqual(before);
  expect(await pendingQuestions(new Saver(db.pool), { thread_id: from.thread_id })).toMatchObject([{ value: "one?" }]);
});
