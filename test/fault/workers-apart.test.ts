/** `serve --workers-apart`: what nodes do to their process is no matter of the API. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Pool } from "pg";
import { beforeEach, expect, test } from "vitest";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { spawnServer, type SpawnedServer } from "../support/server.ts";
import { fileExists } from "./graphs.ts";

const LONG = { timeout: 120_000 };
const graphs = {
  busy: "test/support/graphs/busy.ts:graph",
  steps: "test/support/graphs/steps.ts:graph",
  fatal: "test/support/graphs/fatal.ts:graph",
};

let folder: string;
let database: TestDatabase;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "pawl-apart-"));
  database = await testDatabase();
  return async () => {
    await database[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  };
});

const serveApart = (env: Record<string, string> = {}): Promise<SpawnedServer> =>
  spawnServer({ graphs, ...database, args: ["--workers-apart"], env: { LOG_LEVEL: "info", ...env } });

/** Of the one worker that there is. */
async function workerPid(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ pid: number }>("select pid from workers where lease_until > now()");
  expect(rows).toHaveLength(1);
  return rows[0]!.pid;
}

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

test("a node that computes for longer than the lease holds up no request, and keeps its run", LONG, async () => {
  await using server = await serveApart({ PAWL_LEASE_SECONDS: "2" });
  const { client } = server;
  const { thread_id } = await client.threads.create();
  const run = await client.runs.create(thread_id, "busy", { input: { folder } });
  await fileExists(join(folder, "entered"));
  const beats = () =>
    database.pool.query(
      "select from workers w join runs r using (worker_id) where w.heartbeat_at > r.updated_at + interval '4 s'",
    );
  await expect.poll(async () => (await beats()).rowCount, { timeout: 60_000 }).toBe(1);
  // None of these can be answered by a process that computes.
  expect((await client.runs.get(thread_id, run.run_id)).status).toBe("running");
  expect((await client.threads.getState(thread_id)).next).toEqual(["compute"]);
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  expect(Number(/^pawl_worker_event_loop_lag_seconds\{.*\} (\S+)$/m.exec(metrics)?.[1])).toBeGreaterThan(2);
  await writeFile(join(folder, "go"), "");
  await client.runs.join(thread_id, run.run_id);
  const { rows } = await database.pool.query("select status, attempt from runs");
  expect(rows).toEqual([{ status: "success", attempt: 1 }]);
});

test("a worker that dies is replaced; the API stays, and its reader misses nothing", LONG, async () => {
  await using server = await serveApart();
  const { client } = server;
  const { thread_id } = await client.threads.create();
  const updates: unknown[] = [];
  const before = await workerPid(database.pool);
  for await (const { event, data } of client.runs.stream(thread_id, "steps", {
    input: { steps: 6, ms: 300 },
    streamMode: "updates",
  })) {
    if (event !== "updates") continue;
    updates.push(data);
    if (updates.length === 2) process.kill(before, "SIGKILL");
  }
  expect(updates.length).toBeGreaterThanOrEqual(6);
  expect((await client.threads.get(thread_id)).values).toMatchObject({ done: 6 });
  expect(await workerPid(database.pool)).not.toBe(before);
  expect(await server.kill("SIGTERM")).toBe(0);
});

test(
  "a node that ends its process time after time ends as an error, and the API answers all the while",
  LONG,
  async () => {
    await using server = await serveApart();
    const { client } = server;
    await writeFile(join(folder, "go"), "");
    const { thread_id } = await client.threads.create();
    const { run_id } = await client.runs.create(thread_id, "fatal", {
      input: { folder, name: "fatal", death: "exit" },
    });
    await expect
      .poll(async () => (await client.runs.get(thread_id, run_id)).status, { timeout: 100_000 })
      .toBe("error");
    expect((await client.threads.get(thread_id)).error).toMatchObject({ error: "run_abandoned" });
    expect((await readFile(join(folder, "entered"), "utf8")).split("\n").length - 1).toBeGreaterThanOrEqual(4);
  },
);

test(
  "on SIGTERM its runs get to their next step and nothing is left, though the worker is told twice",
  LONG,
  async () => {
    await using server = await serveApart();
    const { client } = server;
    const { thread_id } = await client.threads.create();
    const run = await client.runs.create(thread_id, "steps", { input: { steps: 100, ms: 200 } });
    await expect
      .poll(async () => (await client.threads.getState(thread_id)).values, { timeout: 60_000 })
      .toMatchObject({ done: 1 });
    const pid = await workerPid(database.pool);
    process.kill(pid, "SIGTERM"); // as a supervisor that ends a group does
    expect(await server.kill("SIGTERM")).toBe(0);
    expect(isAlive(pid)).toBe(false);
    const { rows } = await database.pool.query("select run_id, status, stalled_attempts, suspect from runs");
    expect(rows).toEqual([{ run_id: run.run_id, status: "pending", stalled_attempts: 0, suspect: false }]);
    expect((await database.pool.query("select from workers")).rowCount).toBe(0);
  },
);

test("a worker whose server is killed gives its runs back and ends", LONG, async () => {
  await using server = await serveApart();
  const { client } = server;
  const { thread_id } = await client.threads.create();
  await client.runs.create(thread_id, "steps", { input: { steps: 100, ms: 200 } });
  await expect
    .poll(async () => (await client.threads.getState(thread_id)).values, { timeout: 60_000 })
    .toMatchObject({ done: 1 });
  const pid = await workerPid(database.pool);
  await server.kill("SIGKILL");
  await expect.poll(() => isAlive(pid), { timeout: 60_000 }).toBe(false);
  const { rows } = await database.pool.query("select status, suspect from runs");
  expect(rows).toEqual([{ status: "pending", suspect: false }]);
});
