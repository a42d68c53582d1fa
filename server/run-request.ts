/** What the routes of runs have in common: which run a path names, and what becomes of it when its client leaves. */
import type { Context } from "hono";
import { RunId, ThreadId } from "../lib/ids.ts";
import type { Log } from "../lib/log.ts";
import type { RunRef, Runs } from "../runs/index.ts";
import type { ServerEnv } from "./app.ts";
import type { OpenAnswers } from "./open-answers.ts";
import { parseParam } from "./parse.ts";
import { principalOf } from "./principal.ts";

export interface RunRoutesOptions {
  readonly runs: Runs;
  readonly log: Log;
  readonly heartbeatSeconds: number;
  /** Aborted when this process stops: connections that it closes then are no clients that have gone. */
  readonly closing: AbortSignal;
  readonly openAnswers?: OpenAnswers;
}

/** The thread in the path; undefined for a stateless run. */
export function threadOf(c: Context<ServerEnv>): ThreadId | undefined {
  if (c.req.param("thread_id") === undefined) return undefined;
  return parseParam(ThreadId, c, "thread_id");
}

export function refOf(c: Context<ServerEnv>): RunRef {
  const threadId = threadOf(c);
  const runId = parseParam(RunId, c, "run_id");
  return threadId ? { threadId, runId } : { runId };
}

/** Cancels a run whose client said that it is not to go on without it. */
export function abandon({ runs, log, closing }: RunRoutesOptions, c: Context<ServerEnv>, ref: RunRef): void {
  if (closing.aborted) return;
  runs
    .cancel(principalOf(c), ref, { action: "interrupt" })
    .catch((error: unknown) => log.warn({ error, run_id: ref.runId }, "A run whose client left was not cancelled"));
}
