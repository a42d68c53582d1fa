/** HTTP for runs: parse, call, shape. No branch here decides anything about a run. */
import { Hono } from "hono";
import { z } from "zod";
import { PawlError } from "../lib/errors.ts";
import { RunId, ThreadId } from "../lib/ids.ts";
import { CancelAction, type ListedRun, Run, RunStatus, StreamMode } from "../runs/index.ts";
import type { ServerEnv } from "./app.ts";
import { liveResponse } from "./live-response.ts";
import { parse, parseParam, parseQuery, queryFlag, queryInt, queryList, readJson } from "./parse.ts";
import { principalOf } from "./principal.ts";
import { asEventStream, asFinalValues } from "./run-answers.ts";
import { runCreationRoutes } from "./run-creation.ts";
import { whileConnected } from "./delivery.ts";
import { abandon, refOf, type RunRoutesOptions } from "./run-request.ts";

const ListQuery = z.object({
  limit: queryInt.pipe(z.number().min(1).max(1_000)).default(10),
  offset: queryInt.pipe(z.number().min(0)).default(0),
  status: RunStatus.optional(),
  select: queryList(Run.keyof()).optional(),
});
const JoinQuery = z.object({
  cancel_on_disconnect: queryFlag.default(false),
  stream_mode: queryList(StreamMode).optional(),
});
const CancelQuery = z.object({ wait: queryFlag.default(false), action: CancelAction.default("interrupt") });
const CancelMany = z.union([
  z.object({ thread_id: ThreadId, run_ids: z.array(RunId).min(1) }),
  z.object({ status: z.enum(["pending", "running", "all"]) }),
]);

export function runRoutes(options: RunRoutesOptions): Hono<ServerEnv> {
  const { runs, log } = options;
  const app = new Hono<ServerEnv>();
  app.route("/", runCreationRoutes(options));

  for (const base of ["/threads/:thread_id/runs", "/runs"]) {
    app.get(`${base}/:run_id/stream`, async (c) => {
      const ref = refOf(c);
      const { stream_mode: modes, cancel_on_disconnect: cancels } = parseQuery(JoinQuery, c);
      const after = c.req.header("last-event-id");
      const gone = new AbortController();
      // Before the answer begins, so that an unknown run is a 404.
      const events = await runs.events(principalOf(c), ref, { signal: gone.signal, ...(after && { after }) });
      const onEvent = after ? undefined : options.openAnswers?.add(c);
      return liveResponse(
        c,
        (left) => {
          left.addEventListener("abort", () => gone.abort());
          return asEventStream(async () => events, left, { ...options, onEvent, ...(modes && { modes }) });
        },
        {
          type: "text/event-stream",
          headers: { location: c.req.path },
          ...(cancels && { onGone: () => abandon(options, c, ref) }),
        },
      );
    });
  }

  app.get("/threads/:thread_id/runs", async (c) => {
    const { select, status, ...page } = parseQuery(ListQuery, c);
    const threadId = parseParam(ThreadId, c, "thread_id");
    const list = await runs.list(principalOf(c), threadId, { ...page, ...(status && { status }) });
    return c.json(select ? list.map((run) => pick(run, select)) : list);
  });

  app.get("/threads/:thread_id/runs/:run_id", async (c) => c.json(await runs.get(principalOf(c), refOf(c))));

  app.delete("/threads/:thread_id/runs/:run_id", async (c) => {
    await whileConnected(c, (signal) => runs.delete(principalOf(c), refOf(c), signal));
    return c.body(null, 204);
  });

  app.get("/threads/:thread_id/runs/:run_id/join", async (c) => {
    const ref = refOf(c);
    const { cancel_on_disconnect: cancels } = parseQuery(JoinQuery, c);
    await runs.get(principalOf(c), ref);
    options.openAnswers?.add(c);
    return liveResponse(c, (gone) => asFinalValues(() => runs.join(principalOf(c), ref, gone), gone, log), {
      type: "application/json",
      ...(cancels && { onGone: () => abandon(options, c, ref) }),
    });
  });

  app.post("/threads/:thread_id/runs/:run_id/cancel", async (c) => {
    const { wait, action } = parseQuery(CancelQuery, c);
    await whileConnected(c, (signal) =>
      runs.cancel(principalOf(c), refOf(c), { action, ...(wait && { wait: signal }) }),
    );
    return c.body(null, wait ? 204 : 202);
  });

  app.post("/runs/cancel", async (c) => {
    const { action } = parseQuery(CancelQuery, c);
    const which = parse(CancelMany, await readJson(c));
    if ("status" in which) throw new PawlError("unsupported", "Runs are cancelled by thread_id and run_ids only");
    const refs = which.run_ids.map((runId) => ({ threadId: which.thread_id, runId }));
    // All must exist before the first is cancelled: the answer is for all of them.
    for (const ref of refs) await runs.get(principalOf(c), ref);
    for (const ref of refs) await runs.cancel(principalOf(c), ref, { action });
    return c.body(null, 204);
  });

  return app;
}

/** With the reason why `kwargs` cannot be read, where they are asked for. */
function pick(run: ListedRun, keys: (keyof Run)[]): Partial<ListedRun> {
  const shown: (keyof ListedRun)[] = keys.includes("kwargs") ? [...keys, "unreadable"] : keys;
  return Object.fromEntries(shown.map((key) => [key, run[key]]));
}
