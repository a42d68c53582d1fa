/** The port `Runs` on Postgres: composes the functions of this folder, and signals whom they concern. */
import type pg from "pg";
import { pendingQuestions } from "../checkpoints/questions.ts";
import { Saver } from "../checkpoints/saver.ts";
import { untilReachable } from "../db/connection-error.ts";
import { transaction } from "../db/pool.ts";
import type { Signals } from "../db/signals.ts";
import { RunId, type ThreadId, uuidv7 } from "../lib/ids.ts";
import type { Principal } from "../lib/principal.ts";
import type { Answering } from "./answering.ts";
import { cancelRuns } from "./cancel.ts";
import { type CreateContext, type Created, createRun } from "./create.ts";
import { deleteRun } from "./delete.ts";
import { type Followed, follow } from "./events/follow.ts";
import type { Hub } from "./events/hub.ts";
import type {
  CancelOptions,
  CreateOptions,
  Graphs,
  JoinOptions,
  ListedRun,
  Run,
  RunCreate,
  RunEvent,
  RunOutcome,
  RunPage,
  RunRef,
  Runs,
} from "./index.ts";
import { lockThread, settleThread } from "./queue.ts";
import { findRun, getRun, listRuns, readValues } from "./read.ts";
import { RecentRuns } from "./recent.ts";
import { noteAnswered } from "./resent.ts";
import { buildFrom, refuseChangedGraph } from "./skew/find.ts";
import { deleteThread } from "./threads/delete.ts";
import type { ThreadTtl } from "./threads/ttl.ts";

interface RunsOptions {
  readonly pool: pg.Pool;
  readonly graphs: Graphs;
  readonly hub: Hub;
  readonly signals: Signals;
  /** Shared with a worker in this process. */
  readonly answering: Answering;
  /** Called when a run may be claimed; for a worker in this process. */
  readonly onWork: () => void;
  /** Of threads that are made for a run. */
  readonly defaultTtl?: ThreadTtl | undefined;
}

export class RunsInPostgres implements Runs {
  readonly #options: RunsOptions;
  readonly #recent: RecentRuns;
  readonly #context: CreateContext;

  constructor(options: RunsOptions) {
    const { pool, graphs, signals, answering, defaultTtl } = options;
    const saver = new Saver(pool);
    const buildOf = buildFrom(graphs);
    this.#options = options;
    this.#recent = new RecentRuns(signals);
    this.#context = {
      pool,
      defaultTtl,
      pendingQuestions: (tx, at) => pendingQuestions(saver, at, tx),
      refuseChangedGraph: (tx, thread) => refuseChangedGraph({ saver, db: tx, buildOf }, thread),
      mayBeResent: (earlier) => answering.mayBeResent(earlier),
    };
  }

  async create(principal: Principal, body: RunCreate, options: CreateOptions): Promise<Run> {
    const { answering } = this.#options;
    const newRunId = RunId.parse(uuidv7());
    answering.begin(newRunId); // before anyone can find the run
    this.#recent.begin(newRunId);
    const request = { principal, body, options, newRunId };
    const created = await createRun(this.#context, request).catch((error: unknown) => {
      answering.cancel(newRunId);
      this.#recent.forget(newRunId);
      throw error;
    });
    const { run } = created;
    if (run.run_id !== newRunId) {
      answering.cancel(newRunId);
      this.#recent.forget(newRunId);
      answering.begin(run.run_id);
    }
    this.#recent.accepted(run, principal.tenant);
    this.#announceStopped(created);
    this.#announceWork();
    return run;
  }

  async answered(runId: RunId, wasDelivered: boolean): Promise<void> {
    const { answering, pool } = this.#options;
    this.#recent.forget(runId);
    if (!wasDelivered) return answering.lost(runId);
    await answering.delivered(runId, async () => {
      // A claim at this very moment has passed over the row, since it was locked.
      if (await noteAnswered(pool, runId)) this.#announceWork();
    });
  }

  get(principal: Principal, ref: RunRef): Promise<Run> {
    return getRun(this.#options.pool, principal, ref);
  }

  list(principal: Principal, threadId: ThreadId, page: RunPage): Promise<ListedRun[]> {
    return listRuns(this.#options.pool, { principal, threadId, ...page });
  }

  async cancel(principal: Principal, ref: RunRef, { action, wait }: CancelOptions): Promise<void> {
    const { pool } = this.#options;
    const { run_id: runId, thread_id: threadId } = await getRun(pool, principal, ref);
    const stopped = await transaction(pool, async (tx) => {
      await lockThread(tx, threadId);
      const cancelled = await cancelRuns(tx, { threadId, runId, action });
      if (cancelled.endedTemporary) await deleteThread(tx, principal, threadId);
      else await settleThread(tx, threadId);
      return cancelled;
    });
    this.#announceStopped(stopped);
    if (stopped.promoted) this.#announceWork();
    if (wait) await this.#outcomeOf(runId, wait);
  }

  async delete(principal: Principal, ref: RunRef, signal: AbortSignal): Promise<void> {
    await this.cancel(principal, ref, { action: "rollback", wait: signal });
    await deleteRun(this.#options.pool, principal, ref);
  }

  async events(principal: Principal, ref: RunRef, { after, signal }: JoinOptions): Promise<AsyncIterable<RunEvent>> {
    const from = await this.#startOf(principal, ref, after);
    return eventsOf(this.#follow(ref.runId, from, signal));
  }

  async join(principal: Principal, ref: RunRef, signal: AbortSignal): Promise<RunOutcome> {
    const { pool } = this.#options;
    const find = () => untilReachable(() => findRun(pool, principal, ref), signal);
    const place = this.#recent.placeOf(principal, ref) ?? (await find());
    const outcome = await this.#outcomeOf(ref.runId, signal);
    if (outcome.values !== null) return outcome;
    return { ...outcome, values: await untilReachable(() => readValues(pool, place.thread_id), signal) };
  }

  #announceWork(): void {
    this.#options.onWork();
    this.#options.signals.send("work", "");
  }

  #announceStopped({ ended, stopping }: Pick<Created, "ended" | "stopping">): void {
    const { signals } = this.#options;
    for (const runId of ended) signals.send("events", runId);
    for (const runId of stopping) signals.send("control", runId);
  }

  /** The number of the last event that is not wanted. */
  async #startOf(principal: Principal, ref: RunRef, after: string | undefined): Promise<bigint> {
    if (after !== undefined && this.#recent.placeOf(principal, ref)) return parseEventId(after);
    const place = await findRun(this.#options.pool, principal, ref);
    return after === undefined && !place.resumable ? place.last_seq : parseEventId(after);
  }

  #follow(runId: string, after: bigint, signal: AbortSignal): AsyncGenerator<Followed> {
    // Of a run that executes here the hub knows more: it keeps what is not in the log yet.
    const hasNoLog = (): boolean => this.#recent.hasNoLog(runId) && !this.#options.hub.isLive(runId);
    return follow(this.#options, { runId, after, hasNoLog, signal });
  }

  async #outcomeOf(runId: string, signal: AbortSignal): Promise<RunOutcome> {
    for await (const followed of this.#follow(runId, NONE_BUT_THE_END, signal)) {
      if ("outcome" in followed) return followed.outcome;
    }
    throw signal.reason;
  }
}

/** Greater than the number of any event. */
const NONE_BUT_THE_END = 2n ** 63n - 1n;

/** Event ids are the digits of their number; `-1` comes before all. Clients may send anything: what is no id counts as that. */
function parseEventId(id: string | undefined): bigint {
  return id !== undefined && /^\d{1,18}$/.test(id) ? BigInt(id) : -1n;
}

async function* eventsOf(all: AsyncIterable<Followed>): AsyncGenerator<RunEvent> {
  for await (const followed of all) {
    if (!("event" in followed)) return;
    const { seq, event, data } = followed.event;
    yield { id: String(seq), event, data };
  }
}
