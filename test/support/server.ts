/** The whole server for a test: in this process, or as a process of its own that can be killed. */
import { type ChildProcess, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Client } from "@langchain/langgraph-sdk";
import type { ConnectTo } from "../../db/pool.ts";
import { readConfig } from "../../lib/config.ts";
import type { AnyGraph, Graphs } from "../../runs/index.ts";
import { type RunningServer, startServer } from "../../server/main.ts";
import { silent, testDatabase, type TestDatabase } from "./database.ts";

/** What `langgraph.json` would load, from graphs at hand. A compiled graph of any state fits. */
function graphsOf(graphs: Readonly<Record<string, unknown>>): Graphs {
  const entries = Object.entries(graphs).map(
    ([graph_id, graph]) => [graph_id, { graph_id, hash: "test", resolve: async () => graph as AnyGraph }] as const,
  );
  return new Map(entries);
}

interface TestServerOptions {
  readonly graphs: Readonly<Record<string, unknown>>;
  /** Whether it executes runs; default true. */
  readonly works?: boolean;
  /** As in the environment. */
  readonly env?: Record<string, string>;
  /** To share one database between servers; the server's own otherwise. */
  readonly database?: TestDatabase;
}

export interface TestServer extends RunningServer, AsyncDisposable {
  /** The stock client. */
  readonly client: Client;
  readonly database: TestDatabase;
}

/** `await using server = await testServer({ graphs: { agent } })`: all of it but the process, on a free port. */
export async function testServer({ graphs, works = true, env = {}, database }: TestServerOptions): Promise<TestServer> {
  const own = database ?? (await testDatabase());
  const server = await startServer({
    config: readConfig(env),
    log: silent,
    connection: own.connection,
    graphs: graphsOf(graphs),
    host: "127.0.0.1",
    port: 0,
    works,
    isInsecure: false,
  });
  return {
    ...server,
    client: new Client({ apiUrl: server.url }),
    database: own,
    async [Symbol.asyncDispose]() {
      await server.close(1_000);
      if (!database) await own[Symbol.asyncDispose]();
    },
  };
}

export interface SpawnOptions {
  /** `file:export` by graph id, as in langgraph.json; relative to the repository. */
  readonly graphs: Readonly<Record<string, string>>;
  /** Absent for an embedded Postgres of the process's own. */
  readonly connection?: ConnectTo;
  readonly env?: Record<string, string>;
  /** Behind the command. */
  readonly args?: readonly string[];
}

interface SpawnedProcess extends AsyncDisposable {
  readonly process: ChildProcess;
  /** What it has written, once it matches. Fails when it ends before. */
  readonly written: (pattern: RegExp) => Promise<RegExpExecArray>;
  /** Of its embedded Postgres, if it has one. */
  readonly dataDir: string;
  /** Sends the signal and waits for the end. Resolves with the exit code, null when the signal ended it. */
  readonly kill: (signal: NodeJS.Signals) => Promise<number | null>;
}

export interface SpawnedServer extends SpawnedProcess {
  readonly url: string;
  /** The stock client. */
  readonly client: Client;
}

/** `pawl serve` as a process, on a free port. Fails with what it wrote if it does not come up. */
export async function spawnServer({ args = [], ...options }: SpawnOptions): Promise<SpawnedServer> {
  const spawned = await spawnPawl(["serve", "--port", "0", ...args], options);
  const [, url = ""] = await spawned.written(/Pawl listens on (\S+)[^]*Ready after/);
  return { ...spawned, url, client: new Client({ apiUrl: url }) };
}

/** `pawl worker` as a process: it executes what servers on the same database accept. */
export async function spawnWorker({ args = [], ...options }: SpawnOptions): Promise<SpawnedProcess> {
  const spawned = await spawnPawl(["worker", ...args], options);
  await spawned.written(/Ready after/);
  return spawned;
}

async function spawnPawl(args: string[], { graphs, connection, env = {} }: SpawnOptions): Promise<SpawnedProcess> {
  const folder = await mkdtemp(join(tmpdir(), "pawl-spawned-"));
  const project = { graphs: Object.fromEntries(Object.entries(graphs).map(([id, place]) => [id, resolve(place)])) };
  await writeFile(join(folder, "langgraph.json"), JSON.stringify(project));
  const dataDir = join(folder, "data");
  const child = spawn(process.execPath, ["server/cli.ts", ...args, "--config", join(folder, "langgraph.json")], {
    env: {
      PATH: process.env["PATH"],
      HOME: process.env["HOME"],
      PAWL_DATA_DIR: dataDir,
      ...(connection && { DATABASE_URL: urlOf(connection) }),
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = once(child, "exit") as Promise<[number | null]>;
  return {
    process: child,
    written: watch(child),
    dataDir,
    kill: async (signal) => {
      child.kill(signal);
      return (await exited)[0];
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
      await exited;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function watch(child: ChildProcess): SpawnedProcess["written"] {
  let text = "";
  const news = new EventEmitter();
  const read = (chunk: Buffer) => {
    text += chunk.toString();
    news.emit("news");
  };
  child.stdout?.on("data", read);
  child.stderr?.on("data", read);
  child.once("close", () => news.emit("news"));
  return async (pattern) => {
    for (;;) {
      const match = pattern.exec(text);
      if (match) return match;
      if (child.exitCode !== null) throw new Error(`pawl ended with ${child.exitCode}:\n${text}`);
      await once(news, "news");
    }
  };
}

/** A Postgres on a Unix socket has a URL too: its directory goes into the query. */
export function urlOf({
  connectionString,
  host = "localhost",
  port = 5432,
  user = "",
  database = "",
}: ConnectTo): string {
  if (connectionString !== undefined) return connectionString;
  return `postgres://${user}@localhost:${port}/${database}?host=${encodeURIComponent(host)}`;
}
