/** The port `Runs` on Postgres: composes the functions of this folder and wakes whoever has to know. */
import type pg from "pg";
import { pendingQuestions } from "../checkpoints/questions.ts";
import { Saver } from "../checkpoints/saver.ts";
import { untilReachable } from "../db/connection-error.ts";
import { transaction } from "../db/pool.ts";
import type { Signals } from "../db/signals.ts";
import { RunId, uuidv7 } from "../lib/ids.ts";
import type { Answering } from "./answering.ts";
import { cancelRuns } from "./cancel.ts";
import { createRun } from "./create.ts";
import { type Followed, follow } from "./events/follow.ts";
import type { Hub } from "./events/hub.ts";
import { deleteRun } from "./delete.ts";
import type { Graphs, RunEvent, RunOutcome, RunRef, Runs } from "./index.ts";
import type { Principal } from "../lib/principal.ts";
import { lockThread, settleThread } from "./queue.ts";
import { deleteThread } from "./threads/delete.ts";
import { buildFrom, refuseChangedGraph } from "./skew/find.ts";
import { findRun, getRun, listRuns, readValues } from "./read.ts";
import type { ThreadTtl } from "./threads/ttl.ts";

export interface RunsOptions {
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

export function createRuns({ pool, graphs, hub, signals, answering, onWork, defaultTtl }: RunsOptions): Runs {
  const saver = new Saver(pool);
  const buildOf = buildFrom(graphs);
  const sources = { pool, hub, signals };
  /** Where the runs are whose creating POST is being answered: it follows them at once. */
  const fresh = new Map<string, { readonly tenant: string; readonly thread_id: string }>();
  /** Of those, and of runs that are being created: the ones of which no signal has come. */
  const untold = new Set<string>();
  signals.on("events", (runId) => (runId === "" ? untold.clear() : untold.delete(runId)));

  function announceWork(): void {
    onWork();
    signals.send("work", "");
  }

  function announceStopped(stopped: { ended: readonly string[]; told: readonly string[] }): void {
    for (const runId of stopped.ended) signals.send("events", runId);
    for (const runId of stopped.told) signals.send("control", runId);
  }

  const runs: Runs = {
    async create(principal, body, options) {
      const newRunId = RunId.parse(uuidv7());
      answering.begin(newRunId); // before anyone can find the run
      untold.add(newRunId);
      const created = await createRun(
        {
          pool,
          defaultTtl,
          pendingQuestions: (tx, at) => pendingQuestions(saver, at, tx),
          refuseChangedGraph: (tx, thread) => refuseChangedGraph({ saver, db: tx, buildOf }, thread),
          mayBeResent: (earlier) => answering.mayBeResent(earlier),
        },
        { principal, body, options, newRunId },
      ).catch((error: unknown) => {
        answering.cancel(newRunId);
        untold.delete(newRunId);
        throw error;
      });
      if (created.run.run_id !== newRunId) {
        answering.cancel(newRunId);
        untold.delete(newRunId);
        answering.begin(created.run.run_id);
      }
      const { run_id, thread_id } = created.run;
      fresh.set(run_id, { tenant: principal.tenant, thread_id });
      announceStopped(created);
      announceWork();
      return created.run;
    },

    async answered(runId, wasDelivered) {
      fresh.delete(runId);
      untold.delete(runId);
      if (wasDelivered) await answering.delivered(runId, () => noteAnswered(runId));
      else answering.lost(runId);
    },

    get: (principal, ref) => getRun(pool, principal, ref),
    list: (principal, threadId, page) => listRuns(pool, { principal, threadId, ...page }),

    async cancel(principal, ref, { action, wait }) {
      const run = await getRun(pool, principal, ref);
      const threadId = run.thread_id;
      const stopped = await transaction(pool, async (tx) => {
        await lockThread(tx, threadId);
        const cancelled = await cancelRuns(tx, { threadId, runId: run.run_id, action });
        if (cancelled.endedTemporary) await deleteThread(tx, principal, threadId);
        else await settleThread(tx, threadId);
        return cancelled;
      });
      announceStopped(stopped);
      if (stopped.promoted) announceWork();
      if (wait) await outcomeOf({ runId: run.run_id }, wait);
    },

    async delete(principal, ref, signal) {
      await runs.cancel(principal, ref, { action: "rollback", wait: signal });
      await deleteRun(pool, principal, ref);
    },

    async events(principal, ref, { after, signal }) {
      const from = await startOf(principal, ref, after);
      return events(follow(sources, { runId: ref.runId, after: from, isUntold: () => isUntold(ref), signal }));
    },

    async join(principal, ref, signal) {
      const find = () => untilReachable(() => findRun(pool, principal, ref), signal);
      const place = freshPlace(principal, ref) ?? (await find());
      const outcome = await outcomeOf(ref, signal);
      return outcome.values === null
        ? { ...outcome, values: await untilReachable(() => readValues(pool, place.thread_id), signal) }
        : outcome;
    },
  };
  return runs;

  function freshPlace({ tenant }: Principal, { threadId, runId }: RunRef) {
    const place = fresh.get(runId);
    return place?.tenant === tenant && (threadId ?? place.thread_id) === place.thread_id ? place : undefined;
  }

  async function noteAnswered(runId: string): Promise<void> {
    const { rows } = await pool.query<{ waits: boolean }>({
      name: "run-answered",
      // Not worth waiting for the disk: a crash of Postgres that loses it makes an equal POST find this run.
      text: `
        with lazy as materialized (select set_config('synchronous_commit', 'off', true))
        update runs set answered = true from lazy where run_id = $1
        returning status = 'pending' and ready as waits`,
      values: [runId],
    });
    // A claim at this very moment has passed over the row, since it was locked.
    if (rows[0]?.waits) announceWork();
  }

  /** The number of the last event that is not wanted. */
  async function startOf(principal: Principal, ref: RunRef, after: string | undefined): Promise<bigint> {
    if (after !== undefined && freshPlace(principal, ref)) return parseEventId(after);
    const place = await findRun(pool, principal, ref);
    return after === undefined && !place.resumable ? place.last_seq : parseEventId(after);
  }

  /** What executes here has told the hub, which keeps only what is not in the log. */
  function isUntold({ runId }: Pick<RunRef, "runId">): boolean {
    return untold.has(runId) && !hub.isLive(runId);
  }

  async function outcomeOf(ref: Pick<RunRef, "runId">, signal: AbortSignal): Promise<RunOutcome> {
    const isNew = (): boolean => isUntold(ref);
    for await (const followed of follow(sources, {
      runId: ref.runId,
      after: NONE_BUT_THE_END,
      isUntold: isNew,
      signal,
    })) {
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

async function* events(all: AsyncIterable<Followed>): AsyncGenerator<RunEvent> {
  for await (const followed of all) {
    if (!("event" in followed)) return;
    const { seq, event, data } = followed.event;
    yield { id: String(seq), event, data };
  }
}
