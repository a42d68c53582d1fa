/** The whole server for a test: in this process, or as a process of its own that can be killed. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
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
export function graphsOf(graphs: Readonly<Record<string, unknown>>): Graphs {
  const entries = Object.entries(graphs).map(
    ([graph_id, graph]) => [graph_id, { graph_id, hash: "test", resolve: async () => graph as AnyGraph }] as const,
  );
  return new Map(entries);
}

export interface TestServerOptions {
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
  /** Behind `serve --port 0`. */
  readonly args?: readonly string[];
}

export interface SpawnedServer extends AsyncDisposable {
  readonly url: string;
  readonly client: Client;
  readonly process: ChildProcess;
  /** Of its embedded Postgres, if it has one. */
  readonly dataDir: string;
  /** Sends the signal and waits for the end. Resolves with the exit code, null when the signal ended it. */
  kill(signal: NodeJS.Signals): Promise<number | null>;
}

/** `pawl serve` as a process. Fails with what it wrote if it does not come up. */
export async function spawnServer({ graphs, connection, env = {}, args = [] }: SpawnOptions): Promise<SpawnedServer> {
  const folder = await mkdtemp(join(tmpdir(), "pawl-spawned-"));
  const project = { graphs: Object.fromEntries(Object.entries(graphs).map(([id, place]) => [id, resolve(place)])) };
  await writeFile(join(folder, "langgraph.json"), JSON.stringify(project));
  const dataDir = join(folder, "data");
  const child = spawn(
    process.execPath,
    ["server/cli.ts", "serve", "--port", "0", "--config", join(folder, "langgraph.json"), ...args],
    {
      env: {
        PATH: process.env["PATH"],
        HOME: process.env["HOME"],
        PAWL_DATA_DIR: dataDir,
        ...(connection && { DATABASE_URL: urlOf(connection) }),
        ...env,
      },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  const exited = once(child, "exit") as Promise<[number | null]>;
  const url = await announcedUrl(child);
  return {
    url,
    client: new Client({ apiUrl: url }),
    process: child,
    dataDir,
    async kill(signal) {
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

function announcedUrl(child: ChildProcess): Promise<string> {
  let written = "";
  return new Promise((resolveUrl, reject) => {
    const read = (chunk: Buffer) => {
      written += chunk.toString();
      const url = /Pawl listens on (\S+)[^]*Ready after/.exec(written)?.[1];
      if (url !== undefined) resolveUrl(url);
    };
    child.stdout?.on("data", read);
    child.stderr?.on("data", read);
    child.once("exit", (code) => reject(new Error(`pawl serve ended with ${code}:\n${written}`)));
  });
}
