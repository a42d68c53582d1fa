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
import { RecentRuns } from "./recent.ts";
import { noteAnswered } from "./resent.ts";
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

export function createRuns({ pool, graphs, hub, signals, answering, onWork, defaultTtl }: RunsOptions): Runs {
  const saver = new Saver(pool);
  const buildOf = buildFrom(graphs);
  const sources = { pool, hub, signals };
  const recent = new RecentRuns(signals);

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
      recent.begin(newRunId);
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
        recent.forget(newRunId);
        throw error;
      });
      if (created.run.run_id !== newRunId) {
        answering.cancel(newRunId);
        recent.forget(newRunId);
        answering.begin(created.run.run_id);
      }
      recent.accepted(created.run, principal.tenant);
      announceStopped(created);
      announceWork();
      return created.run;
    },

    async answered(runId, wasDelivered) {
      recent.forget(runId);
      if (!wasDelivered) return answering.lost(runId);
      await answering.delivered(runId, async () => {
        // A claim at this very moment has passed over the row, since it was locked.
        if (await noteAnswered(pool, runId)) announceWork();
      });
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
      const { runId } = ref;
      return eventsOf(follow(sources, { runId, after: from, isUntold: () => isUntold(runId), signal }));
    },

    async join(principal, ref, signal) {
      const find = () => untilReachable(() => findRun(pool, principal, ref), signal);
      const place = recent.placeOf(principal, ref) ?? (await find());
      const outcome = await outcomeOf(ref, signal);
      return outcome.values === null
        ? { ...outcome, values: await untilReachable(() => readValues(pool, place.thread_id), signal) }
        : outcome;
    },
  };
  return runs;

  /** The number of the last event that is not wanted. */
  async function startOf(principal: Principal, ref: RunRef, after: string | undefined): Promise<bigint> {
    if (after !== undefined && recent.placeOf(principal, ref)) return parseEventId(after);
    const place = await findRun(pool, principal, ref);
    return after === undefined && !place.resumable ? place.last_seq : parseEventId(after);
  }

  /** Whether the log of a run is known to be empty. A run that executes here has a hub, which keeps what is not in the log. */
  function isUntold(runId: string): boolean {
    return recent.isUntold(runId) && !hub.isLive(runId);
  }

  async function outcomeOf({ runId }: Pick<RunRef, "runId">, signal: AbortSignal): Promise<RunOutcome> {
    const options = { runId, after: NONE_BUT_THE_END, isUntold: () => isUntold(runId), signal };
    for await (const followed of follow(sources, options)) {
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
