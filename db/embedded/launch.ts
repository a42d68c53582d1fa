/**
 * A Postgres of our own, for whoever gives no DATABASE_URL: real binaries from npm, data under `<dataDir>/postgres`, a
 * Unix socket in a private folder and no TCP port. It lives as long as this process, and one process at a time owns it.
 */
import { mkdirSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "pg";
import { asError, isPawlError, PawlError } from "../../lib/errors.ts";
import type { Log } from "../../lib/log.ts";
import { isConnectionError } from "../connection-error.ts";
import type { ConnectTo } from "../pool.ts";
import { chooseAccount } from "./account.ts";
import { findBinaries, installedPackage } from "./binaries.ts";
import { ensureCluster, OWNER } from "./cluster.ts";
import { stopOrphan } from "./orphan.ts";
import { takePossession } from "./possession.ts";
import { runServer, type ServerOptions, type ServerProcess } from "./server-process.ts";
import { PORT, socketFolder } from "./socket-folder.ts";

interface EmbeddedOptions {
  readonly dataDir: string;
  readonly log: Log;
  /** Trades durability for speed (no fsync). For tests only. */
  readonly unsafe?: boolean;
  /** Where the binaries are, if not in node_modules. */
  readonly packageRoot?: string;
}

export interface EmbeddedPostgres {
  readonly connection: ConnectTo;
  /** Ends it, connections or not. Everything committed is on disk. */
  stop(): Promise<void>;
  /** Calls `handler` once if Postgres ends, or gets another owner, without `stop`: the process cannot go on. */
  onExit(handler: (error: PawlError) => void): void;
}

/** How long a Postgres that is going away may be in the way of the next one. */
const CONTENTION_MS = 15_000;
const RETRY_MS = 25;

/**
 * Starts it, and makes the database on the first start. `bad_configuration` when it cannot run here or another process
 * runs on `dataDir`, `database_unavailable` when it ends at once.
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const { log, unsafe = false, packageRoot = installedPackage() } = options;
  mkdirSync(options.dataDir, { recursive: true });
  const dataDir = realpathSync(options.dataDir);
  const directory = join(dataDir, "postgres");
  const account = await chooseAccount(dataDir);
  const binaries = await findBinaries(packageRoot, dataDir, account);
  const sockets = await socketFolder(dataDir, account);
  await ensureCluster({ directory, account, binaries, unsafe });

  const owned = await startOwned({ directory, sockets, account, binaries, unsafe, log });
  return supervise(owned);
}

function connectTo(sockets: string): ConnectTo {
  return { host: sockets, port: PORT, user: OWNER, database: "postgres", ssl: false };
}

/** Starts Postgres and takes possession of it, after the one of a killed predecessor has made room. */
async function startOwned(options: ServerOptions): Promise<Owned> {
  const { directory, log } = options;
  const connection = connectTo(options.sockets);
  const deadline = Date.now() + CONTENTION_MS;
  for (;;) {
    await stopOrphan({ directory, log, connect: connectTo });
    const server = runServer(options);
    if ((await server.ready) === "ready") {
      try {
        return { connection, server, owner: await takePossession(connection), log };
      } catch (error) {
        await server.stop();
        // Another process starting now may have taken ours for an orphan and stopped it: then that one is found next.
        if (!isConnectionError(error) || Date.now() > deadline) throw error;
      }
    }
    await server.ended;
    if (Date.now() > deadline) {
      throw new PawlError("database_unavailable", `The Postgres left over in ${directory} does not make room`);
    }
    await delay(RETRY_MS);
  }
}

interface Owned {
  readonly connection: ConnectTo;
  readonly server: ServerProcess;
  readonly owner: Client;
  readonly log: Log;
}

function supervise({ connection, server, owner, log }: Owned): EmbeddedPostgres {
  const exit = Promise.withResolvers<PawlError>();
  const phase = { stopping: false, ended: false };

  async function awaitEnd(): Promise<void> {
    const why = await server.ended;
    phase.ended = true;
    if (!phase.stopping) {
      exit.resolve(new PawlError("database_unavailable", `The embedded Postgres ended with ${why}`));
    }
  }

  /** Postgres drops every connection when one of its processes crashes, and goes on: so do we, as its owner again. */
  async function keepPossession(): Promise<void> {
    let current = owner;
    for (;;) {
      await new Promise((resolve) => current.once("end", resolve));
      const next = await retake();
      if (!next) return;
      current = next;
    }
  }

  async function retake(): Promise<Client | undefined> {
    while (!phase.ended && !phase.stopping) {
      try {
        return await takePossession(connection);
      } catch (error) {
        if (isPawlError(error)) {
          exit.resolve(error);
          return undefined;
        }
        log.debug({ error: asError(error) }, "the embedded Postgres is recovering");
        await delay(RETRY_MS);
      }
    }
    return undefined;
  }

  void awaitEnd();
  void keepPossession();

  return {
    connection,
    async stop() {
      phase.stopping = true;
      if (!phase.ended) await server.stop();
    },
    onExit: (handler) => void exit.promise.then(handler),
  };
}
