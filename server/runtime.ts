/** What executes and keeps runs in one process, with or without HTTP in front: names the concrete classes. */
import type pg from "pg";
import { z } from "zod";
import { encryptionOf, encryptWith } from "../checkpoints/encryption.ts";
import { shareVersions } from "../checkpoints/known-versions.ts";
import { registerKeys } from "../checkpoints/encryption-keys.ts";
import { connectToHistory } from "../db/database-history.ts";
import { type ConnectTo, createPool } from "../db/pool.ts";
import { type OutboxHandlers, startOutbox } from "../db/outbox.ts";
import { openSignals } from "../db/signals.ts";
import type { Config } from "../lib/config.ts";
import type { PawlError } from "../lib/errors.ts";
import { ThreadId } from "../lib/ids.ts";
import type { Log } from "../lib/log.ts";
import { localPrincipal } from "../lib/principal.ts";
import { Answering } from "../runs/answering.ts";
import { type Assistants, createAssistants } from "../runs/assistants/assistants.ts";
import { Hub } from "../runs/events/hub.ts";
import type { Graphs, Runs } from "../runs/index.ts";
import type { StartIsolated } from "../runs/isolation.ts";
import { startRetention } from "../runs/retention.ts";
import { RunsInPostgres } from "../runs/runs.ts";
import { defaultRetention, type ThreadRetention } from "./project.ts";
import { THREAD_DELETED } from "../runs/threads/delete.ts";
import { createThreads, type Threads } from "../runs/threads/threads.ts";
import { RunWorker } from "../runs/worker.ts";
import { closeExecutors } from "../tools/sandbox/select.ts";
import { removeWorkspace } from "../tools/sandbox/workspace.ts";
import { startWorkspaceSweep } from "./workspaces.ts";

/** Connections for requests. Each holds one for a transaction at most, so this is far more requests at once. */
const API_CONNECTIONS = 10;
/** A run holds none while its graph computes: half of them want to write at the same moment at most. */
const workerConnections = (concurrency: number) => Math.min(30, 3 + Math.ceil(concurrency / 2));

interface RuntimeOptions {
  readonly config: Pick<
    Config,
    "workerConcurrency" | "leaseSeconds" | "eventTtlSeconds" | "dataDir" | "encryptionKeys"
  >;
  readonly log: Log;
  readonly connection: ConnectTo;
  readonly graphs: Graphs;
  /** Whether this process executes runs, or only accepts them for others. */
  readonly works: boolean;
  /** Gives a process to a run that is suspected of ending its own. Without it such a run gets this process for itself. */
  readonly startIsolated?: StartIsolated;
  /** As the project says. */
  readonly threadRetention?: ThreadRetention | undefined;
}

export interface Runtime {
  /** For requests. */
  readonly pool: pg.Pool;
  /** For runs. */
  readonly workerPool: pg.Pool;
  readonly runs: Runs;
  readonly threads: Threads;
  readonly assistants: Assistants;
  /** Calls `handler` once if the database turns out to be rewound: nothing is written any more, and the process has to end. */
  onDatabaseChanged(handler: (error: PawlError) => void): void;
  /** Claims no more, and lets runs get to their next step for `graceMs` before it stops them. */
  drain(graceMs: number): Promise<void>;
  /** Lets go of the database. Comes after `drain`. */
  close(): Promise<void>;
}

/** Throws `database_unavailable`, `database_changed`; `bad_configuration` without a key of a database that is encrypted. */
export async function openRuntime(options: RuntimeOptions): Promise<Runtime> {
  const { config, log, connection, graphs, works, startIsolated, threadRetention = defaultRetention } = options;
  const history = await connectToHistory(connection, log);
  // A process that is stopped half-way through a transaction must not keep others from its threads for longer than it
  // keeps its runs.
  const idleTransactionMs = config.leaseSeconds * 1_000;
  const shared = { ...connection, log, idleTransactionMs, gate: history };
  const pool = createPool({ ...shared, max: API_CONNECTIONS, name: "pawl api" });
  const workerPool = createPool({ ...shared, max: workerConnections(config.workerConcurrency), name: "pawl worker" });
  for (const each of [pool, workerPool]) encryptWith(each, config.encryptionKeys);
  shareVersions([pool, workerPool]);
  await registerKeys(pool, encryptionOf(pool)).catch(async (error: unknown) => {
    await Promise.all([pool.end(), workerPool.end()]);
    throw error;
  });
  const watch = history.watch(pool, log);
  const signals = await openSignals(connection, log);
  signals.on("control", (payload) => payload === "" && watch.now()); // it was lost, and is there again
  const { sweepMinutes, defaultTtl } = threadRetention;
  const hub = new Hub();
  const answering = new Answering();
  const threads = createThreads({ pool, graphs, defaultTtl, onRunDeleted: (runId) => signals.send("control", runId) });
  const assistants = createAssistants({ pool, graphs, threads });
  await assistants.createForGraphs(localPrincipal);
  const worker = works
    ? await RunWorker.start({
        pool: workerPool,
        connection,
        hub,
        signals,
        graphs,
        answering,
        concurrency: config.workerConcurrency,
        leaseSeconds: config.leaseSeconds,
        log,
        ...(startIsolated && { startIsolated }),
      })
    : undefined;
  const outbox = startOutbox({ pool, handlers: outboxHandlers(config.dataDir), log });
  const workspaces = startWorkspaceSweep({ pool, dataDir: config.dataDir, log });
  const retention = startRetention({
    pool,
    eventTtlSeconds: config.eventTtlSeconds,
    threadSweepMinutes: sweepMinutes,
    log,
  });
  return {
    pool,
    workerPool,
    runs: new RunsInPostgres({ pool, graphs, hub, signals, answering, onWork: () => worker?.wake(), defaultTtl }),
    threads,
    assistants,
    onDatabaseChanged: (handler) => history.onChanged(handler),
    async drain(graceMs) {
      await worker?.close(graceMs);
      await closeExecutors();
    },
    async close() {
      watch.stop();
      answering.noteAll();
      await Promise.all([retention.close(), workspaces.close(), outbox.close()]);
      await signals.close();
      await Promise.all([pool.end(), workerPool.end()]);
    },
  };
}

function outboxHandlers(dataDir: string): OutboxHandlers {
  const Deleted = z.object({ thread_id: ThreadId });
  return {
    [THREAD_DELETED]: async ({ payload }) => removeWorkspace(dataDir, Deleted.parse(payload).thread_id),
  };
}
