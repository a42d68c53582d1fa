/** Folders, clients and child processes for the tests of the launcher. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { Client, type QueryResultRow } from "pg";
import { chooseAccount } from "../../db/embedded/account.ts";
import type { ConnectTo } from "../../db/pool.ts";
import { postmasterPid } from "../support/database.ts";

export interface Folder extends AsyncDisposable {
  readonly path: string;
}

/** A folder that only its owner can enter (mkdtemp makes no other); no Postgres outlives it. */
export async function temporaryFolder(): Promise<Folder> {
  const path = await mkdtemp(join(tmpdir(), "pawl-launcher-"));
  return {
    path,
    async [Symbol.asyncDispose]() {
      if (existsSync(join(path, "postgres", "postmaster.pid"))) process.kill(postmasterPid(path), "SIGQUIT");
      await rm(path, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** Rows of one statement on a connection of its own. */
export async function query<Row extends QueryResultRow>(connection: ConnectTo, sql: string): Promise<Row[]> {
  const client = new Client(connection);
  await client.connect();
  try {
    return (await client.query<Row>(sql)).rows;
  } finally {
    await client.end();
  }
}

type Child = ChildProcessByStdio<Writable, Readable, null>;

export interface Owner {
  readonly process: Child;
  readonly connection: ConnectTo;
  /** Who it thinks it is. */
  readonly uid: number;
}

/** Another process that owns the Postgres in `dataDir`: as this user, or as one who is not root. */
export async function spawnOwner(dataDir: string, user: "this user" | "ordinary user" = "this user"): Promise<Owner> {
  const command = [process.execPath, script, dataDir];
  if (user === "this user") return ready(start(command));
  const { prefix, spawnAs } = await chooseAccount(dataDir);
  return ready(start([...prefix, ...command], spawnAs));
}

/** The same as root where the kernel allows no user namespace, as in most containers. */
export async function spawnOwnerWithoutNamespaces(dataDir: string, packageRoot: string): Promise<Owner> {
  if (process.getuid?.() !== 0) return spawnOwner(dataDir);
  // Each namespace has a limit of its own for the namespaces within; only its root, who must exist first, may lower it.
  const inner = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"';
  const outer = `echo unshared; read mapped; exec sh -c '${inner}' sh "$@"`;
  const child = start(["unshare", "--user", "sh", "-c", outer, "sh", process.execPath, script, dataDir, packageRoot]);
  await nextLine(child);
  for (const kind of ["uid_map", "gid_map"]) writeFileSync(`/proc/${child.pid}/${kind}`, "0 0 65536");
  child.stdin.write("mapped\n");
  return ready(child);
}

const script = fileURLToPath(new URL("./launcher-child.ts", import.meta.url));

function start([program = "", ...args]: string[], ids: { uid?: number; gid?: number } = {}): Child {
  return spawn(program, args, { ...ids, stdio: ["pipe", "pipe", "inherit"] });
}

async function ready(child: Child): Promise<Owner> {
  const { connection, uid } = JSON.parse(await nextLine(child)) as Omit<Owner, "process">;
  return { process: child, connection, uid };
}

async function nextLine(child: Child): Promise<string> {
  const lines = createInterface(child.stdout);
  const [line] = (await Promise.race([
    once(lines, "line"),
    once(child, "exit").then(([code]) => Promise.reject(new Error(`The child ended with ${code}`))),
  ])) as [string];
  lines.close();
  return line;
}
