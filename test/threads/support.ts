/** Threads and assistants over HTTP, on a real database, called by the stock client. Runs are driven by hand. */
import { setTimeout as delay } from "node:timers/promises";
import { Annotation, END, interrupt, MessagesAnnotation, Send, START, StateGraph } from "@langchain/langgraph";
import { Client } from "@langchain/langgraph-sdk";
import type { Hono } from "hono";
import { Saver } from "../../checkpoints/saver.ts";
import { ThreadId, uuidv7 } from "../../lib/ids.ts";
import { localPrincipal } from "../../lib/principal.ts";
import { type Assistants, createAssistants } from "../../runs/assistants/assistants.ts";
import { type ClaimedRun, claimRuns } from "../../runs/claim.ts";
import { createRun } from "../../runs/create.ts";
import type { AnyGraph, Graphs, Run, RunCreate } from "../../runs/index.ts";
import { createThreads, type Threads } from "../../runs/threads/threads.ts";
import type { ServerEnv } from "../../server/app.ts";
import { assistantRoutes } from "../../server/assistants.ts";
import { threadRoutes } from "../../server/threads.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { testApp } from "../support/serve.ts";

const State = Annotation.Root({
  count: Annotation<number>(),
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
});

/** `a` then `b`, each of which writes its name down. */
const steps = new StateGraph(State)
  .addNode("a", () => ({ log: ["a"] }))
  .addNode("b", () => ({ log: ["b"] }))
  .addEdge(START, "a")
  .addEdge("a", "b")
  .addEdge("b", END)
  .compile();

/** Asks one question, or as many in parallel as `count` says. */
const asking = new StateGraph(State)
  .addNode("ask", (state: { item?: number }) => ({ log: [String(interrupt({ question: state.item ?? 0 }))] }))
  .addConditionalEdges(START, ({ count }) => Array.from({ length: count ?? 1 }, (_, item) => new Send("ask", { item })))
  .addEdge("ask", END)
  .compile();

/** With a subgraph `inner`, which asks. */
const nested = new StateGraph(State).addNode("inner", asking).addEdge(START, "inner").addEdge("inner", END).compile();

const chat = new StateGraph(MessagesAnnotation)
  .addNode("say", () => ({ messages: [{ role: "ai", content: "hello" }] }))
  .addEdge(START, "say")
  .compile();

const within = new StateGraph(State).addNode("inner", steps).addEdge(START, "inner").compile();

const testGraphs = { steps, asking, nested, within, chat } as unknown as Record<string, AnyGraph>;

export interface World extends AsyncDisposable {
  readonly db: TestDatabase;
  readonly app: Hono<ServerEnv>;
  readonly client: Client;
  readonly threads: Threads;
  readonly assistants: Assistants;
  readonly graphs: Graphs;
  /** A thread of that graph on which it has run, without a run's row. */
  threadAfter(graphId: string, input: unknown): Promise<ThreadId>;
  /** Goes on from the thread's newest checkpoint, as a worker would. */
  invoke(graphId: string, threadId: string, input: unknown, runId?: string): Promise<void>;
  createRun(threadId: string, body: Pick<RunCreate, "assistant_id"> & Partial<RunCreate>): Promise<Run>;
  claim(): Promise<ClaimedRun[]>;
  /** Resolves once so many connections wait for a lock. */
  untilWaiting(connections: number): Promise<void>;
}

export async function world(extra: Record<string, unknown> = {}): Promise<World> {
  const db = await testDatabase();
  const { pool } = db;
  const graphs: Graphs = new Map(
    Object.entries({ ...testGraphs, ...extra }).map(([graph_id, graph]) => [
      graph_id,
      { graph_id, hash: "test", resolve: async () => graph as AnyGraph },
    ]),
  );
  const threads = createThreads({ pool, graphs });
  const assistants = createAssistants({ pool, graphs, threads });
  await assistants.createForGraphs(localPrincipal);
  const app = testApp({ routes: [threadRoutes(threads), assistantRoutes(assistants)] });
  const client = new Client({
    apiUrl: "http://localhost",
    callerOptions: { maxRetries: 0, fetch: async (url: string, init?: RequestInit) => app.request(url, init) },
  });

  async function invoke(...[graphId, threadId, input, run_id]: Parameters<World["invoke"]>): Promise<void> {
    const graph = await graphs.get(graphId)!.resolve({});
    const config = { configurable: { thread_id: threadId, run_id, __pregel_checkpointer: new Saver(pool) } };
    for await (const _ of await graph.stream(input, config));
  }

  return {
    db,
    app,
    client,
    threads,
    assistants,
    graphs,
    invoke,
    async threadAfter(graphId, input) {
      const { thread_id } = await threads.create(localPrincipal, { metadata: { graph_id: graphId } });
      await invoke(graphId, thread_id, input);
      return thread_id;
    },
    async createRun(threadId, body) {
      const context = {
        pool,
        pendingQuestions: async () => [],
        refuseChangedGraph: async () => {},
        mayBeResent: () => false,
      };
      const options = { threadId: ThreadId.parse(threadId) };
      return (await createRun(context, { principal: localPrincipal, body, options, newRunId: uuidv7() })).run;
    },
    claim: () =>
      claimRuns(pool, { workerId: "00000000-0000-4000-8000-000000000001", graphs: [...graphs.values()], limit: 10 }),
    async untilWaiting(connections) {
      const waiting = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
      const patience = AbortSignal.timeout(10_000);
      while (((await pool.query(waiting)).rowCount ?? 0) < connections) await delay(2, undefined, { signal: patience });
    },
    [Symbol.asyncDispose]: () => db[Symbol.asyncDispose](),
  };
}

/** The status and the code of what the client throws. */
export async function refusal(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => "accepted",
    (error: Error) => `${/HTTP (\d+)/.exec(error.message)?.[1]} ${/"code":"(\w+)"/.exec(error.message)?.[1]}`,
  );
}
