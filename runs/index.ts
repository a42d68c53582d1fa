/** What the server may ask about runs: the port that `server/` is written against. */
import type { CompiledGraph } from "@langchain/langgraph";
import type { Principal } from "../lib/principal.ts";
import type { RunId, ThreadId } from "../lib/ids.ts";
import type { CancelAction, ListedRun, Run, RunCreate, RunError, RunStatus } from "./run.ts";

export * from "./run.ts";

/**
 * What runs need of a compiled graph, of whatever state. It is shared by all runs and is never mutated: the checkpointer
 * of a run travels in its config.
 */
export type AnyGraph = Pick<
  CompiledGraph<string>,
  | "name"
  | "nodes"
  | "channels"
  | "stream"
  | "streamEvents"
  | "getState"
  | "getStateHistory"
  | "updateState"
  | "bulkUpdateState"
  | "getGraphAsync"
  | "getSubgraphsAsync"
>;

/** A graph of langgraph.json, loaded. */
export interface LoadedGraph {
  readonly graph_id: string;
  /** Digest of the graph's source and of the packages that run it. */
  readonly hash: string;
  readonly description?: string;
  /** The graph for this configuration; calls the factory if langgraph.json names one. Throws `graph_invalid`. */
  resolve(config: { configurable?: Record<string, unknown> }): Promise<AnyGraph>;
}

export type Graphs = ReadonlyMap<string, LoadedGraph>;

/** One event of a run, as it goes out over SSE. */
export interface RunEvent {
  /** Opaque for clients; unique and growing for the life of the thread. */
  readonly id: string;
  /** Stream mode, `|`-separated namespace behind it; or `metadata`, `error`. */
  readonly event: string;
  /** Plain JSON. */
  readonly data: unknown;
}

/** How a run ended. */
export interface RunOutcome {
  readonly status: RunStatus;
  /** The last state of the thread; with `__interrupt__` when it waits for an answer. */
  readonly values: unknown;
  readonly error?: RunError;
}

export interface CreateOptions {
  /** Absent for a stateless run: it gets a thread of its own. */
  readonly threadId?: ThreadId;
  readonly idempotencyKey?: string;
  /** Digest of the request, path and body: an equal POST whose first answer was never delivered returns the first run. */
  readonly digest?: Buffer;
}

export interface JoinOptions {
  /** Deliver events after this id only: `-1` is all there are; absent is all for a resumable run and only new ones for others. */
  readonly after?: string;
  readonly signal: AbortSignal;
}

export interface RunPage {
  readonly limit: number;
  readonly offset: number;
  readonly status?: RunStatus;
}

export interface CancelOptions {
  readonly action: CancelAction;
  /** Given: resolve only when the run is in a final state (or gone, after a rollback), or throw the signal's reason. */
  readonly wait?: AbortSignal;
}

/** Where a run is: `threadId` is absent when the client named the run alone. */
export interface RunRef {
  readonly threadId?: ThreadId;
  readonly runId: RunId;
}

export interface Runs {
  /**
   * Accepts a run. Throws `assistant_not_found`, `thread_not_found`, `thread_busy` (strategy `reject`, or a resume of a busy
   * thread), `ambiguous_resume`, `unknown_interrupt`, `nothing_to_resume`, `graph_changed` (the loaded graph cannot go on from
   * where the thread stands), `already_exists` (a run id or key of another request, or of a run that is gone).
   */
  create(principal: Principal, body: RunCreate, options: CreateOptions): Promise<Run>;
  /**
   * Says that this process is through with answering the POST that created the run, and whether its client was still
   * there to get the answer. Must follow every `create`: while a POST is being answered an equal one is another client's;
   * once its client was lost an equal one is the same, sent again.
   */
  answered(runId: RunId, wasDelivered: boolean): Promise<void>;
  get(principal: Principal, ref: RunRef): Promise<Run>;
  /** Newest first. One whose kwargs cannot be read is listed without them. */
  list(principal: Principal, threadId: ThreadId, page: RunPage): Promise<ListedRun[]>;
  /** Idempotent. */
  cancel(principal: Principal, ref: RunRef, options: CancelOptions): Promise<void>;
  /** Deletes a run and its checkpoints, cancelling it first if it is alive. `signal` ends the wait for that. */
  delete(principal: Principal, ref: RunRef, signal: AbortSignal): Promise<void>;
  /** The events of a run in order, until it has ended. Throws `run_not_found` before the first event. */
  events(principal: Principal, ref: RunRef, options: JoinOptions): Promise<AsyncIterable<RunEvent>>;
  /** Waits for the end. The thread's row is already up to date when this resolves. */
  join(principal: Principal, ref: RunRef, signal: AbortSignal): Promise<RunOutcome>;
}
