/** `pawl` as a process: what it says, what it refuses, and how it ends. */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, request } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { postmasterPid, testDatabase } from "../support/database.ts";
import { graph as asking } from "../support/graphs/asks.ts";
import { serve, testApp } from "../support/serve.ts";
import { spawnServer, spawnWorker, testServer, urlOf } from "../support/server.ts";

const graphs = { steps: "test/support/graphs/steps.ts:graph" };

/** Milliseconds for several starts of a process, one after the other, on a machine with other work. */
const LONG = 120_000;

/** Runs to its end. */
async function pawl(args: string[], env: Record<string, string> = {}, input = "") {
  const child = spawn(process.execPath, ["server/cli.ts", ...args], {
    env: { PATH: process.env["PATH"], ...env },
    stdio: "pipe",
    timeout: LONG,
  });
  child.stdin.end(input);
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, out, err };
}

test.each([
  [["serve", "--prot", "1"]],
  [["fly"]],
  [["serve", "twice"]],
  [["serve", "--port", "many"]],
  [["serve", "--restored"]],
  [["serve", "--no-workers", "--workers-apart"]],
  [["migrate", "--check", "--restored"]],
  [["export"]],
  [["import", "x"]],
])("pawl %j is refused with the usage", async (args) => {
  const { code, err } = await pawl(args);
  expect(code).toBe(2);
  expect(err).toMatch(/Usage: pawl/);
});

test("help is help", async () => {
  const { code, out } = await pawl(["--help"]);
  expect(code).toBe(0);
  expect(out).toMatch(/serve[^]*worker[^]*migrate/);
});

test("bad configuration is said in full and without a stack", async () => {
  const { code, err } = await pawl(["serve"], { PORT: "x", DATABASE_URL: "mysql://x" });
  expect(code).toBe(1);
  expect(err).toMatch(/PORT/);
  expect(err).toMatch(/DATABASE_URL/);
  expect(err).not.toMatch(/ at .*\.ts:/);
});

test("a project may not say where the data is or who may call", async () => {
  const folder = await mkdtemp(join(tmpdir(), "pawl-env-"));
  const file = join(folder, "langgraph.json");
  const project = {
    graphs: { steps: resolve(graphs.steps) },
    env: { PAWL_CORS_ORIGINS: "https://evil.example", DATABASE_URL: "x" },
  };
  await writeFile(file, JSON.stringify(project));
  const { code, err } = await pawl(["serve", "--config", file]);
  expect(code).toBe(1);
  expect(err).toMatch(/may not set PAWL_CORS_ORIGINS, DATABASE_URL/);
  await rm(folder, { recursive: true });
});

test("an address that others reach is refused unless the operator insists", async () => {
  await using database = await testDatabase();
  const { code, err } = await pawl(["serve", "--host", "0.0.0.0"], { DATABASE_URL: urlOf(database.connection) });
  expect(code).toBe(1);
  expect(err).toMatch(/0\.0\.0\.0 is open to others.*--insecure/);
});

test("with --insecure it listens there, and serves whatever it is called", async () => {
  await using database = await testDatabase();
  await using server = await spawnServer({ graphs, ...database, args: ["--host", "0.0.0.0", "--insecure"] });
  const { port } = new URL(server.url);
  expect((await fetch(`http://127.0.0.1:${port}/info`)).status).toBe(200);
  expect(await statusWithHost(Number(port), "box.lan")).toBe(200);
});

test("a port that was asked for and is taken ends the start", async () => {
  await using database = await testDatabase();
  await using occupant = await serve(testApp({ routes: [] }));
  const { code, err } = await pawl(["serve", "--port", String(occupant.port)], {
    DATABASE_URL: urlOf(database.connection),
  });
  expect(code).toBe(1);
  expect(err).toContain(`Port ${occupant.port} is taken`);
});

test("a database that was never migrated is refused, and migrate brings it up to date", async () => {
  await using database = await testDatabase({ template: "template0" });
  const env = { DATABASE_URL: urlOf(database.connection) };
  const early = await pawl(["serve", "--port", "0"], env);
  expect(early.code).toBe(1);
  expect(early.err).toMatch(/pawl migrate/);
  expect(await pawl(["migrate"], env)).toMatchObject({ code: 0, out: expect.stringMatching(/is up to date/) });
  await using server = await spawnServer({ graphs, ...database });
  expect((await fetch(`${server.url}/ok?check_db=1`)).status).toBe(200);
});

test(
  "migrate --check names the threads that these graphs could not continue, changes nothing, and ends with 1 then",
  { timeout: LONG },
  async () => {
    await using database = await testDatabase();
    const threadId = await (async () => {
      await using server = await testServer({ graphs: { asks: asking }, database });
      const { thread_id } = await server.client.threads.create();
      await server.client.runs.wait(thread_id, "asks", { input: {} });
      return thread_id;
    })();
    const folder = await mkdtemp(join(tmpdir(), "pawl-check-"));
    const check = async (place: string) => {
      const file = join(folder, "langgraph.json");
      await writeFile(file, JSON.stringify({ graphs: { asks: resolve(place) } }));
      return pawl(["migrate", "--check", "--config", file], { DATABASE_URL: urlOf(database.connection) });
    };
    const unfit = await check("test/support/graphs/asks.ts:renamed");
    expect(unfit).toMatchObject({ code: 1, err: "" });
    expect(unfit.out).toMatch(new RegExp(`^${threadId} asks: the node "ask" is due, and is gone.*\n.*1 cannot go on`));
    expect(await check("test/support/graphs/asks.ts:graph")).toMatchObject({
      code: 0,
      out: expect.stringMatching(/every thread can go on/),
    });
    await rm(folder, { recursive: true });
    await using empty = await testDatabase({ template: "template0" });
    const early = await pawl(["migrate", "--check"], { DATABASE_URL: urlOf(empty.connection) });
    expect(early).toMatchObject({ code: 1, err: expect.stringMatching(/lacks 0001_init\.sql/) });
  },
);

test(
  "migrate --restored accepts the embedded database, whose files may have been copied back",
  { timeout: LONG },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "pawl-restored-"));
    const { code, out } = await pawl(["migrate", "--restored"], { PAWL_DATA_DIR: folder });
    expect(code).toBe(0);
    expect(out).toMatch(/embedded Postgres.*accepted as restored: 0 threads/);
    await rm(folder, { recursive: true });
  },
);

test("a thread is exported as lines, imported under another id, and refused where it is already", async () => {
  await using db = await testDatabase();
  const env = { DATABASE_URL: urlOf(db.connection), PAWL_ENCRYPTION_KEYS: "11".repeat(32) };
  const [id, copy] = [randomUUID(), randomUUID()];
  await db.pool.query("insert into threads (thread_id, metadata) values ($1, '{\"a\":1}')", [id]);

  const exported = await pawl(["export", id], env);
  expect(exported).toMatchObject({ code: 0, err: "" });
  const [imported, again, keyless] = await Promise.all([
    pawl(["import", "--thread", copy], env, exported.out),
    pawl(["import"], env, exported.out),
    pawl(["export", id], { DATABASE_URL: env.DATABASE_URL }),
  ]);

  expect(imported).toMatchObject({ code: 0, out: `${copy}: 0 checkpoints\n` });
  expect(again).toMatchObject({ code: 1, err: `pawl: Thread ${id} already exists\n` });
  expect(keyless.err).toMatch(/PAWL_ENCRYPTION_KEYS is not set/);
  const { rows } = await db.pool.query("select metadata from threads where thread_id = $1", [copy]);
  expect(rows).toEqual([{ metadata: { a: 1 } }]);
});

test("a model that is down does not keep the server down; it says so when asked", async () => {
  const closed = createServer().listen(0, "127.0.0.1");
  await once(closed, "listening");
  const { port } = closed.address() as AddressInfo;
  closed.close();
  await once(closed, "close");
  await using database = await testDatabase();
  const env = { MODEL_BASE_URL: `http://127.0.0.1:${port}/v1`, MODEL_NAME: "some-model" };
  await using server = await spawnServer({ graphs, ...database, env });
  expect((await fetch(`${server.url}/ok`)).status).toBe(200);
  const ready = await fetch(`${server.url}/ready`);
  expect(ready.status).toBe(503);
  expect(await ready.json()).toMatchObject({ checks: { database: { ok: true }, model: { ok: false } } });
});

test("on SIGTERM it stops in order and leaves with 0, its embedded Postgres behind it", async () => {
  await using server = await spawnServer({ graphs });
  const { client } = server;
  expect(await client.runs.wait(null, "steps", { input: { steps: 2, ms: 1 } })).toMatchObject({ done: 2 });
  expect(await server.kill("SIGTERM")).toBe(0);
});

test("an embedded Postgres that dies takes the process with it, and not silently", async () => {
  await using server = await spawnServer({ graphs });
  const exited = once(server.process, "exit");
  process.kill(postmasterPid(server.dataDir), "SIGQUIT");
  expect(await exited).toEqual([1, null]);
});

test("a run under way when the server stops goes on in the next process, and its reader with it", async () => {
  await using database = await testDatabase();
  await using first = await spawnServer({ graphs, ...database });
  await using second = await spawnServer({ graphs, ...database, args: ["--no-workers"] });
  const { thread_id } = await second.client.threads.create();
  const stream = second.client.runs.stream(thread_id, "steps", { input: { steps: 8, ms: 300 }, streamMode: "updates" });
  const updates = [];
  await using rest = new AsyncDisposableStack();
  for await (const { event } of stream) {
    if (event !== "updates") continue;
    updates.push(event);
    if (updates.length !== 2) continue;
    expect(await first.kill("SIGTERM")).toBe(0);
    rest.use(await spawnServer({ graphs, ...database }));
  }
  expect(updates).toHaveLength(8);
  expect((await second.client.threads.get(thread_id)).values).toMatchObject({ done: 8 });
});

test("a worker of its own executes what a server without workers accepts", async () => {
  await using database = await testDatabase();
  await using server = await spawnServer({ graphs, ...database, args: ["--no-workers"] });
  await using worker = await spawnWorker({ graphs, ...database });
  expect(await server.client.runs.wait(null, "steps", { input: { steps: 3, ms: 1 } })).toMatchObject({ done: 3 });
  expect(await worker.kill("SIGTERM")).toBe(0);
});

test("a promise that one graph forgets does not end the process with the runs of the others", async () => {
  await using database = await testDatabase();
  const both = { ...graphs, forgetful: "test/support/graphs/forgetful.ts:graph" };
  await using server = await spawnServer({ graphs: both, ...database });
  expect(await server.client.runs.wait(null, "forgetful", { input: {} })).toMatchObject({ done: 1 });
  await server.written(/"forgotten"[^]*unhandled rejection/);
  expect(await server.client.runs.wait(null, "steps", { input: { steps: 1, ms: 1 } })).toMatchObject({ done: 1 });
  expect(await server.kill("SIGTERM")).toBe(0);
});

test("a second signal ends it at once", async () => {
  await using database = await testDatabase();
  await using server = await spawnServer({ graphs, ...database, env: { LOG_LEVEL: "info" } });
  await server.client.runs.create(null, "steps", { input: { steps: 1, ms: 60_000 } });
  server.process.kill("SIGTERM");
  await server.written(/"stopping"/);
  const before = performance.now();
  expect(await server.kill("SIGTERM")).toBe(1);
  expect(performance.now() - before).toBeLessThan(5_000);
});

/** `fetch` does not let its caller choose the Host. */
async function statusWithHost(port: number, host: string): Promise<number | undefined> {
  const sent = request({ port, host: "127.0.0.1", path: "/info", headers: { host } }).end();
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  response.resume();
  return response.statusCode;
}
