/** The thread that keeps a worker alive in the eyes of the others, by itself: the test is its main loop. */
import { once } from "node:events";
import { hostname } from "node:os";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { uuidv7 } from "../../lib/ids.ts";
import type { FromHeartbeat, HeartbeatOptions } from "../../runs/membership/messages.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";

/** Looks for its main loop once a second. */
function heartbeat({ connection }: TestDatabase) {
  const workerId = uuidv7();
  const workerData: HeartbeatOptions = {
    connection,
    workerId,
    host: hostname(),
    pid: process.pid,
    leaseSeconds: 3,
    concurrency: 1,
    watchdogMs: 1_500,
  };
  const thread = new Worker(new URL("../../runs/membership/heartbeat-thread.ts", import.meta.url), { workerData });
  const ended = once(thread, "exit"); // which fails if the thread does
  const lost = Promise.withResolvers<string>();
  thread.on("message", (message: FromHeartbeat) => {
    if (message.type === "lost") lost.resolve(message.reason);
  });
  return { workerId, thread, ended, lost: lost.promise };
}

test("a main loop that is silent for too long costs its worker the lease, and one that speaks keeps it", async () => {
  await using db = await testDatabase();
  const silent = heartbeat(db);
  const speaking = heartbeat(db);
  const timer = setInterval(() => speaking.thread.postMessage({ type: "alive", lagMs: 0 }), 100);
  expect(await Promise.race([silent.lost, speaking.lost.then(() => "the other one")])).toMatch(/silent for too long/);
  const alive =
    "select worker_id from workers where lease_until > now() and heartbeat_at > started_at + interval '2 s'";
  await expect
    .poll(async () => (await db.pool.query(alive)).rows, { timeout: 10_000 })
    .toEqual([{ worker_id: speaking.workerId }]);
  clearInterval(timer);
  speaking.thread.postMessage({ type: "leave" });
  expect(await Promise.all([silent.ended, speaking.ended])).toEqual([[0], [0]]);
  expect((await db.pool.query("select from workers")).rowCount).toBe(0);
});
