/** The port `Runs` on a database of the test's own, with workers in this process and graphs given by the test. */
import { Annotation, StateGraph } from "@langchain/langgraph";
import { openSignals, type Signals } from "../../db/signals.ts";
import { ThreadId, uuidv7 } from "../../lib/ids.ts";
import { localPrincipal } from "../../lib/principal.ts";
import { Answering } from "../../runs/answering.ts";
import { createSystemAssistants } from "../../runs/assistants/create.ts";
import { Hub } from "../../runs/events/hub.ts";
import type { AnyGraph, Graphs, RunCreate, Runs } from "../../runs/index.ts";
import { RunsInPostgres } from "../../runs/runs.ts";
import { RunWorker } from "../../runs/worker.ts";
import { silent, type TestDatabase, testDatabase } from "./database.ts";

export interface RunsHost extends AsyncDisposable {
  readonly db: TestDatabase;
  readonly runs: Runs;
  readonly graphs: Graphs;
  /** The port as another process has it, one that executes nothing: it hears of runs through the database only. */
  elsewhere(): Promise<Runs>;
  /** A worker in this process; closed with the host. */
  startWorker(options?: { concurrency?: number; leaseSeconds?: number }): Promise<RunWorker>;
  /** A fresh thread. */
  thread(): Promise<ThreadId>;
  /** Accepts a run of the first graph. */
  create(threadId: ThreadId, body?: Partial<RunCreate>): ReturnType<Runs["create"]>;
  threadRow(threadId: ThreadId): Promise<Record<string, unknown>>;
}

/**
 * `given`: a database that the test restarts or shares; one of its own otherwise. `hash` tells the build of the graphs
 * from others.
 */
export async function runsHost(
  compiled: Record<string, AnyGraph>,
  given?: TestDatabase,
  hash = "test",
): Promise<RunsHost> {
  const db = given ?? (await testDatabase());
  const graphs: Graphs = new Map(
    Object.entries(compiled).map(([graph_id, graph]) => [graph_id, { graph_id, hash, resolve: async () => graph }]),
  );
  await createSystemAssistants(db.pool, localPrincipal, graphs);
  const hub = new Hub();
  const signals = await openSignals(db.connection, silent);
  const others: Signals[] = [];
  const workers: RunWorker[] = [];
  const answering = new Answering();
  const runs = new RunsInPostgres({
    pool: db.pool,
    graphs,
    hub,
    signals,
    answering,
    onWork: () => workers.forEach((worker) => worker.wake()),
  });
  const [first = ""] = Object.keys(compiled);
  return {
    db,
    runs,
    graphs,
    async elsewhere() {
      const own = await openSignals(db.connection, silent);
      others.push(own);
      return new RunsInPostgres({
        pool: db.pool,
        graphs,
        hub: new Hub(),
        signals: own,
        answering: new Answering(),
        onWork: () => {},
      });
    },
    async startWorker({ concurrency = 4, leaseSeconds = 10 } = {}) {
      const { pool, connection } = db;
      const worker = await RunWorker.start({
        pool,
        connection,
        hub,
        signals,
        graphs,
        answering,
        concurrency,
        leaseSeconds,
        log: silent,
      });
      workers.push(worker);
      return worker;
    },
    async thread() {
      const threadId = ThreadId.parse(uuidv7());
      await db.pool.query("with t as (insert into threads (thread_id) values ($1)) select 1", [threadId]);
      await db.pool.query("insert into thread_owner (thread_id) values ($1)", [threadId]);
      return threadId;
    },
    create: (threadId, body = {}) =>
      runs.create(localPrincipal, { assistant_id: first, input: {}, ...body }, { threadId }),
    async threadRow(threadId) {
      const { rows } = await db.pool.query("select * from threads where thread_id = $1", [threadId]);
      return rows[0];
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(workers.map((worker) => worker.close(0)));
      await Promise.all([signals, ...others].map((each) => each.close()));
      await db[Symbol.asyncDispose]();
    },
  };
}

/** State of the little graphs in tests: a list that grows. */
export const Log = Annotation.Root({
  log: Annotation<string[]>({ reducer: (all, more) => [...all, ...more], default: () => [] }),
});

type LogState = typeof Log.State;

/** A graph of one node. */
export function oneNode(
  node: (
    state: LogState,
    config: { signal?: AbortSignal; configurable?: Record<string, unknown> },
  ) => Promise<Partial<LogState>>,
): AnyGraph {
  return new StateGraph(Log).addNode("work", node).addEdge("__start__", "work").compile();
}
