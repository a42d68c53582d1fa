/**
 * Follows a run until it has ended: live from the hub when it executes here, else from the log whenever a signal says
 * that there is more. Both paths go by `seq`, so nothing is missed or told twice when the run moves between workers.
 */
import type pg from "pg";
import { untilReachable } from "../../db/connection-error.ts";
import type { Signals } from "../../db/signals.ts";
import type { RunOutcome } from "../index.ts";
import type { Hub, LoggedEvent, Notice } from "./hub.ts";
import { readLog } from "./read.ts";

interface FollowContext {
  readonly pool: pg.Pool;
  readonly hub: Hub;
  readonly signals: Signals;
}

interface FollowOptions {
  readonly runId: string;
  /** Number of the last event that the caller has; -1n for none. */
  readonly after: bigint;
  /** Whether the log is known to be empty: then it need not be read before a signal comes. */
  readonly hasNoLog: () => boolean;
  readonly signal: AbortSignal;
}

export type Followed = { readonly event: LoggedEvent } | { readonly outcome: RunOutcome };

/** Notices kept for a reader that is slower than its run; with more it goes back to the log. */
const MAX_BEHIND = 1_000;
/** Milliseconds after which the log is read although no signal came. */
const BACKSTOP_MS = 1_000;

/** Yields events in order and, last, the outcome. Ends without an outcome only when `signal` is aborted. */
export async function* follow(context: FollowContext, options: FollowOptions): AsyncGenerator<Followed> {
  const { pool, hub, signals } = context;
  const { runId, signal } = options;
  let last = options.after;
  let live: Notice[] = [];
  let stale = !options.hasNoLog(); // whether the log may hold what did not come from the hub
  const alarm = new Alarm();

  const listen = (): (() => void) =>
    hub.subscribe(runId, (notice) => {
      // A reader who stalls must not hold a run's events in memory. One more than the limit marks that some are missing.
      if (live.length <= MAX_BEHIND) live.push(notice);
      alarm.ring();
    });
  let unsubscribe = listen();
  const unlisten = signals.on("events", (payload) => {
    if ((payload !== runId && payload !== "") || hub.isLive(runId)) return;
    stale = true;
    alarm.ring();
  });
  const onAbort = (): void => alarm.ring();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    while (!signal.aborted) {
      if (live.length > MAX_BEHIND) {
        unsubscribe();
        live = [];
        unsubscribe = listen(); // tells again what is not in the log
        stale = true;
      }
      const heard = live;
      live = [];
      if (stale) {
        stale = false;
        const after = last;
        const page = await untilReachable(() => readLog(pool, runId, after), signal);
        for (const event of page.events) {
          if (event.seq <= last) continue;
          last = event.seq;
          yield { event };
        }
        if (page.outcome) return void (yield { outcome: page.outcome });
        if (page.isPartial) {
          stale = true;
          live.unshift(...heard);
          continue;
        }
        if (page.unknown) return void (yield { outcome: { status: "interrupted", values: null } });
      }
      for (const [i, notice] of heard.entries()) {
        if ("outcome" in notice) return void (yield notice);
        if ("reread" in notice) {
          stale = true;
          live.unshift(...heard.slice(i + 1)); // the log comes first
          break;
        }
        if (notice.event.seq <= last) continue;
        last = notice.event.seq;
        yield notice;
      }
      if (live.length > 0 || stale) continue;
      if ((await alarm.wait(BACKSTOP_MS)) && !hub.isLive(runId)) stale = true;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    signal.removeEventListener("abort", onAbort);
    unsubscribe();
    unlisten();
  }
}

/** Wakes one waiter; a ring before the wait is not lost. */
class Alarm {
  #woken = Promise.withResolvers<"rung" | "late">();

  ring(): void {
    this.#woken.resolve("rung");
  }

  /** Returns whether the time ran out. */
  async wait(ms: number): Promise<boolean> {
    const timer = setTimeout(() => this.#woken.resolve("late"), ms);
    const why = await this.#woken.promise;
    clearTimeout(timer);
    this.#woken = Promise.withResolvers();
    return why === "late";
  }
}
