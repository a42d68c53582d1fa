/** One run of the embedded Postgres: started, ready, ended. */
import { createInterface } from "node:readline";
import { PawlError } from "../../lib/errors.ts";
import type { Log } from "../../lib/log.ts";
import { type Account, spawnAs } from "./account.ts";
import type { Binaries } from "./binaries.ts";
import { PORT } from "./socket-folder.ts";

const FAST_SHUTDOWN_MS = 10_000;
const IMMEDIATE_SHUTDOWN_MS = 5_000;
const LAST_WORDS_MS = 250;

/** For a machine shared with the agents themselves; what is not named here keeps the default of Postgres. */
const settings = {
  listen_addresses: "",
  port: String(PORT),
  unix_socket_permissions: "0700",
  max_connections: "200",
  shared_buffers: "128MB",
  // Readers of a warm cache gain nothing from three more processes.
  io_method: "sync",
  // Its queries are small; parallel ones would also need more shared memory than a container gives by default.
  max_parallel_workers_per_gather: "0",
  // Nobody replicates it: no sender processes, less to write.
  wal_level: "minimal",
  max_wal_senders: "0",
  timezone: "UTC",
  log_timezone: "UTC",
  // Errors reach the client that caused them; in a log they would carry users' data.
  log_min_messages: "log",
  log_min_error_statement: "panic",
  log_checkpoints: "off",
};

/** For tests of what does not concern crashes: a power cut may destroy the data. */
const unsafeSettings = { fsync: "off", full_page_writes: "off", synchronous_commit: "off" };

/** What an operator should hear of though Postgres goes on: a process of it crashed, or was killed for its memory. */
const worrying = /PANIC:|terminated by signal/;

export interface ServerOptions {
  readonly directory: string;
  readonly sockets: string;
  readonly account: Account;
  readonly binaries: Binaries;
  readonly unsafe: boolean;
  readonly log: Log;
}

export interface ServerProcess {
  /** Resolves when it accepts connections, to "in use" when another Postgres has the directory; rejects if it ends. */
  readonly ready: Promise<"ready" | "in use">;
  /** Settles when the process has ended, with what it said last. */
  readonly ended: Promise<string>;
  /** Shuts down, with connections open too: fast, then at once, then by force. */
  stop(): Promise<void>;
}

export function runServer({ directory, sockets, account, binaries, unsafe, log }: ServerOptions): ServerProcess {
  const all = { ...settings, unix_socket_directories: sockets, ...(unsafe ? unsafeSettings : {}) };
  const flags = Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const child = spawnAs(account, [binaries.postgres, "-D", directory, ...flags], binaries.env);

  const lastWords: string[] = [];
  const ready = Promise.withResolvers<"ready" | "in use">();
  createInterface(child.stderr).on("line", (line) => {
    if (lastWords.push(line) > 20) lastWords.shift();
    log[worrying.test(line) ? "warn" : "debug"]({ postgres: line }, "postgres");
    if (line.includes("database system is ready to accept connections")) ready.resolve("ready");
    if (
      line.includes('lock file "postmaster.pid" already exists') ||
      line.includes("pre-existing shared memory block")
    ) {
      ready.resolve("in use");
    }
  });
  const ended = new Promise<string>((resolve) => {
    child.on("error", (error) => resolve(error.message)); // it never started
    child.on("exit", (code, signal) => {
      const tell = (): void => resolve(`${signal ?? `code ${code}`}: ${lastWords.slice(-5).join("\n")}`);
      // After the rest of what it said; but sessions that outlive a killed server may hold the pipe open.
      child.on("close", tell);
      setTimeout(tell, LAST_WORDS_MS).unref();
    });
  });
  void ended.then((why) => ready.reject(new PawlError("database_unavailable", `Postgres ended with ${why}`)));
  ready.promise.catch(() => {}); // whoever awaits it handles it; nobody has to

  return {
    ready: ready.promise,
    ended,
    async stop() {
      child.kill("SIGINT");
      const deadlines = [
        setTimeout(() => child.kill("SIGQUIT"), FAST_SHUTDOWN_MS),
        setTimeout(() => child.kill("SIGKILL"), FAST_SHUTDOWN_MS + IMMEDIATE_SHUTDOWN_MS),
      ];
      await ended;
      for (const deadline of deadlines) clearTimeout(deadline);
    },
  };
}
