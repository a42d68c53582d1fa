/**
 * A Postgres that archives its log, for tests that restore it to a point in time or fail over to a standby. Run by the
 * binaries of the embedded one; a backup is made as Postgres documents it, since `pg_basebackup` is not among them.
 */
import { once } from "node:events";
import { cp, mkdir, mkdtemp, rm, symlink, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Client } from "pg";
import { type Account, type Child, chooseAccount, spawnAs } from "../../db/embedded/account.ts";
import { type Binaries, findBinaries, installedPackage } from "../../db/embedded/binaries.ts";
import { ensureCluster, ensurePrivateFolder, OWNER } from "../../db/embedded/cluster.ts";
import type { ConnectTo } from "../../db/pool.ts";
import { prepareSchema } from "./schema.ts";

export interface Cluster extends AsyncDisposable {
  /** Of whatever server is at the address now. */
  readonly connection: ConnectTo;
  /** A backup of the files while the server runs. */
  backUp(): Promise<string>;
  /** Names this moment. */
  mark(name: string): Promise<void>;
  /** The server is gone, and at its address is another one: the backup, recovered from the archive up to the mark. */
  restoreTo(backup: string, mark: string): Promise<void>;
  /** The same with a standby that has followed from the backup on, and is promoted. */
  failOver(backup: string): Promise<void>;
}

export async function archivingCluster(): Promise<Cluster> {
  const folder = await mkdtemp(join(tmpdir(), "pawl-cluster-"));
  const account = await chooseAccount(folder);
  const binaries = await findBinaries(installedPackage(), folder, account);
  const archive = join(folder, "archive");
  const address = join(folder, "address"); // moves from server to server, as a name in DNS would
  const connection: ConnectTo = { host: address, port: 5432, user: OWNER, database: "postgres", ssl: false };
  await ensurePrivateFolder(archive, account);
  let count = 0;

  async function start(directory: string, settings: Record<string, string> = {}): Promise<Server> {
    const sockets = join(folder, `s${++count}`);
    await ensurePrivateFolder(sockets, account);
    const own = {
      archive_mode: "on",
      archive_command: `cp %p ${archive}/%f`,
      unix_socket_directories: sockets,
      ...settings,
    };
    return startServer({ account, binaries, directory, sockets, settings: own });
  }

  const first = join(folder, "first");
  await ensureCluster({ directory: first, account, binaries, unsafe: true });
  let current = await start(first);
  await symlink(current.sockets, address);
  await prepareSchema(connection);

  async function replace(next: Server): Promise<void> {
    current = next;
    await unlink(address);
    await symlink(current.sockets, address);
  }

  return {
    connection,
    async backUp() {
      const backup = join(folder, `backup${++count}`);
      const session = new Client(connection);
      await session.connect();
      await session.query("select pg_backup_start('test', fast => true)");
      await cp(current.directory, backup, {
        recursive: true,
        filter: (path) => !/postmaster\.(pid|opts)$|pg_wal\/.+/.test(path.slice(current.directory.length)),
      });
      const { rows } = await session.query<{ labelfile: string }>("select labelfile from pg_backup_stop()");
      await writeFile(join(backup, "backup_label"), rows[0]!.labelfile, { mode: 0o600 });
      await session.end();
      await mkdir(join(backup, "pg_wal"), { recursive: true, mode: 0o700 });
      return backup;
    },
    async mark(name) {
      const session = new Client(connection);
      await session.connect();
      await session.query("select pg_create_restore_point($1)", [name]);
      await session.end();
    },
    async restoreTo(backup, mark) {
      await current.stop(); // and archives the rest of its log
      await writeFile(join(backup, "recovery.signal"), "");
      await replace(
        await start(backup, {
          restore_command: `cp ${archive}/%f %p`,
          recovery_target_name: mark,
          recovery_target_action: "promote",
        }),
      );
    },
    async failOver(backup) {
      await writeFile(join(backup, "standby.signal"), "");
      const standby = await start(backup, {
        restore_command: `cp ${archive}/%f %p`,
        primary_conninfo: `host=${current.sockets} port=5432 user=${OWNER}`,
      });
      await current.stop();
      const session = new Client({ ...connection, host: standby.sockets });
      await session.connect();
      await session.query("select pg_promote()");
      await session.end();
      await replace(standby);
    },
    async [Symbol.asyncDispose]() {
      await current.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

interface Server {
  readonly directory: string;
  readonly sockets: string;
  stop(): Promise<void>;
}

interface StartOptions {
  readonly account: Account;
  readonly binaries: Binaries;
  readonly directory: string;
  readonly sockets: string;
  readonly settings: Record<string, string>;
}

async function startServer({ account, binaries, directory, sockets, settings }: StartOptions): Promise<Server> {
  const all = { listen_addresses: "", fsync: "off", timezone: "UTC", log_timezone: "UTC", ...settings };
  const flags = Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const child = spawnAs(account, [binaries.postgres, "-D", directory, ...flags], binaries.env);
  const exited = once(child, "exit");
  await ready(child);
  return {
    directory,
    sockets,
    async stop() {
      child.kill("SIGINT");
      await exited;
    },
  };
}

async function ready(child: Child): Promise<void> {
  const said: string[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  createInterface(child.stderr).on("line", (line) => {
    said.push(line);
    if (/ready to accept (read-only )?connections/.test(line) && !isRecovering(said, line)) resolve();
  });
  child.once("exit", () => reject(new Error(`Postgres ended:\n${said.slice(-10).join("\n")}`)));
  await promise;
}

/** While it recovers to a point in time it takes read-only connections, too; a standby stays so. */
function isRecovering(said: readonly string[], line: string): boolean {
  return line.includes("read-only") && !said.some((earlier) => earlier.includes("entering standby mode"));
}
