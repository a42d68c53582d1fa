/** The server that is measured: `pawl serve` as a process of its own, on an embedded Postgres with fsync that we own. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { startEmbedded } from "../db/embedded/launch.ts";
import type { ConnectTo } from "../db/pool.ts";
import type { Log } from "../lib/log.ts";
import { applySchema } from "../server/open-database.ts";

export interface MeasuredServer extends AsyncDisposable {
  readonly url: string;
  /** Of its database. */
  readonly connection: ConnectTo;
  /** Resident memory of the server's process, in MiB. */
  memory(): number;
}

const cli = fileURLToPath(new URL("../server/cli.ts", import.meta.url));
const graphs = fileURLToPath(new URL("./graphs.ts", import.meta.url));

/** On a fresh database in a temporary folder, gone at the end. */
export async function startMeasured(log: Log): Promise<MeasuredServer> {
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "pawl-bench-"));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const postgres = await startEmbedded({ dataDir: join(folder, "data"), log });
  cleanup.defer(() => postgres.stop());
  await applySchema(postgres.connection, log);
  const project = join(folder, "langgraph.json");
  await writeFile(project, JSON.stringify({ graphs: { two: `${graphs}:two`, ten: `${graphs}:ten` } }));

  const child = spawn(process.execPath, [cli, "serve", "--port", "0", "--config", project], {
    env: {
      PATH: process.env["PATH"],
      HOME: process.env["HOME"],
      DATABASE_URL: urlOf(postgres.connection),
      PAWL_DATA_DIR: join(folder, "server"),
      LOG_LEVEL: "warn",
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  cleanup.defer(async () => {
    child.kill("SIGTERM");
    await exited;
  });
  let url: string | undefined;
  for await (const line of createInterface(child.stdout)) {
    url ??= /^Pawl listens on (\S+)/.exec(line)?.[1];
    if (line.startsWith("Ready")) break;
  }
  if (url === undefined) throw new Error("The server did not come up");
  child.stdout.resume();

  const owned = cleanup.move();
  return {
    url,
    connection: postgres.connection,
    memory: () => Number(execFileSync("ps", ["-o", "rss=", "-p", String(child.pid)], { encoding: "utf8" })) / 1_024,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A Unix socket has a URL too: its directory goes into the query. */
function urlOf({ host = "", port, user, database }: ConnectTo): string {
  return `postgres://${user}@localhost:${port}/${database}?host=${encodeURIComponent(host)}`;
}
