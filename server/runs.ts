/** HTTP for runs: parse, call, shape. No branch here decides anything about a run. */
import { createHash } from "node:crypto";
import { type Context, Hono } from "hono";
import { z } from "zod";
import { PawlError } from "../lib/errors.ts";
import { RunId, ThreadId } from "../lib/ids.ts";
import type { Log } from "../lib/log.ts";
import { CancelAction, Run, RunCreate, RunStatus, StreamMode, type RunRef, type Runs } from "../runs/index.ts";
import type { ServerEnv } from "./app.ts";
import { onAnswered, onPresence } from "./delivery.ts";
import { liveResponse, type LiveOptions } from "./live-response.ts";
import { parse, parseBody, parseQuery, queryFlag, queryInt, queryList, readJson, readText } from "./parse.ts";
import { principalOf } from "./principal.ts";
import { asEventStream, asFinalValues } from "./run-answers.ts";

type C = Context<ServerEnv>;

export interface RunRoutesOptions {
  readonly runs: Runs;
  readonly log: Log;
  readonly heartbeatSeconds: number;
  /** Aborted when this process stops: connections that it closes then are no clients that have gone. */
  readonly closing: AbortSignal;
}

const IdempotencyKey = z.string().min(1).max(255).optional();
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

export function runRoutes({ runs, log, heartbeatSeconds, closing }: RunRoutesOptions): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>();

  const refOf = (c: C): RunRef => {
    const threadId = threadOf(c);
    const runId = parse(RunId, c.req.param("run_id"));
    return threadId ? { threadId, runId } : { runId };
  };

  const create = async (c: C): Promise<{ run: Run; body: RunCreate }> => {
    const threadId = threadOf(c);
    const idempotencyKey = parse(IdempotencyKey, c.req.header("idempotency-key"));
    const body = await parseBody(RunCreate, c);
    const run = await runs.create(principalOf(c), body, {
      digest: digest(c, await readText(c)),
      ...(threadId && { threadId }),
      ...(idempotencyKey && { idempotencyKey }),
    });
    return { run, body };
  };

  const settle = (runId: RunId, wasDelivered: boolean) => {
    runs
      .answered(runId, wasDelivered)
      .catch((error: unknown) => log.warn({ error, run_id: runId }, "A delivery was not recorded"));
  };

  const abandon = (c: C, ref: RunRef) => {
    if (closing.aborted) return;
    runs
      .cancel(principalOf(c), ref, { action: "interrupt", wait: false })
      .catch((error: unknown) => log.warn({ error, run_id: ref.runId }, "A run whose client left was not cancelled"));
  };

  /** How a live answer to a creating POST begins and breaks off. */
  const followed = (c: C, run: Run, body: RunCreate): LiveOptions => {
    let wasDelivered: boolean | undefined;
    const settleOnce = (delivered: boolean) => {
      if (wasDelivered !== undefined) return;
      wasDelivered = delivered;
      settle(run.run_id, delivered);
    };
    return {
      headers: runHeaders(c, run),
      onBegun: () => onPresence(c, settleOnce),
      onGone: () => {
        settleOnce(false);
        // Who never got the answer will send the POST again, and wants the run.
        if (wasDelivered && body.on_disconnect === "cancel") abandon(c, { threadId: run.thread_id, runId: run.run_id });
      },
    };
  };

  for (const base of ["/threads/:thread_id/runs", "/runs"]) {
    app.post(base, async (c) => {
      const { run } = await create(c);
      onAnswered(c, (wasDelivered) => settle(run.run_id, wasDelivered));
      return c.json(run, 200, runHeaders(c, run));
    });

    // From here on the run is committed: nothing may answer with a status of failure, or the SDK would send it again.
    app.post(`${base}/stream`, async (c) => {
      const { run, body } = await create(c);
      const ref = { threadId: run.thread_id, runId: run.run_id };
      const open = (signal: AbortSignal) => runs.events(principalOf(c), ref, { after: "-1", signal });
      return liveResponse(
        c,
        (gone) => asEventStream(() => open(gone), gone, { log, heartbeatSeconds }),
        eventStream(followed(c, run, body)),
      );
    });

    app.post(`${base}/wait`, async (c) => {
      const { run, body } = await create(c);
      const ref = { threadId: run.thread_id, runId: run.run_id };
      return liveResponse(
        c,
        (gone) => asFinalValues(() => runs.join(principalOf(c), ref, gone), log),
        json(followed(c, run, body)),
      );
    });

    app.get(`${base}/:run_id/stream`, async (c) => {
      const ref = refOf(c);
      const { stream_mode: modes, cancel_on_disconnect: cancels } = parseQuery(JoinQuery, c);
      const after = c.req.header("last-event-id");
      const gone = new AbortController();
      const events = await runs.events(principalOf(c), ref, { signal: gone.signal, ...(after && { after }) });
      return liveResponse(
        c,
        (left) => {
          left.addEventListener("abort", () => gone.abort());
          return asEventStream(async () => events, left, { log, heartbeatSeconds, ...(modes && { modes }) });
        },
        eventStream({ headers: { location: c.req.path }, ...(cancels && { onGone: () => abandon(c, ref) }) }),
      );
    });
  }

  app.post("/runs/batch", async (c) => {
    const items = parse(z.array(z.unknown()).min(1).max(100), await readJson(c));
    const bodies = parse(z.array(RunCreate), items.map(toSnakeCase));
    const idempotencyKey = parse(IdempotencyKey, c.req.header("idempotency-key"));
    const text = await readText(c);
    const created: Run[] = [];
    for (const [index, body] of bodies.entries()) {
      const run = await runs.create(principalOf(c), body, {
        digest: digest(c, `${index}\n${text}`),
        ...(idempotencyKey && { idempotencyKey: `${idempotencyKey}/${index}` }),
      });
      created.push(run);
    }
    onAnswered(c, (wasDelivered) => created.forEach((run) => settle(run.run_id, wasDelivered)));
    return c.json(created);
  });

  app.post("/runs/cancel", async (c) => {
    const { action } = parseQuery(CancelQuery, c);
    const which = parse(CancelMany, await readJson(c));
    if ("status" in which) throw new PawlError("unsupported", "Runs are cancelled by thread_id and run_ids only");
    const refs = which.run_ids.map((runId) => ({ threadId: which.thread_id, runId }));
    // All must exist before the first is cancelled: the answer is for all of them.
    for (const ref of refs) await runs.get(principalOf(c), ref);
    for (const ref of refs) await runs.cancel(principalOf(c), ref, { action, wait: false });
    return c.body(null, 204);
  });

  app.get("/threads/:thread_id/runs", async (c) => {
    const { select, status, ...page } = parseQuery(ListQuery, c);
    const threadId = parse(ThreadId, c.req.param("thread_id"));
    const list = await runs.list(principalOf(c), threadId, { ...page, ...(status && { status }) });
    return c.json(select ? list.map((run) => pick(run, select)) : list);
  });

  app.get("/threads/:thread_id/runs/:run_id", async (c) => c.json(await runs.get(principalOf(c), refOf(c))));

  app.delete("/threads/:thread_id/runs/:run_id", async (c) => {
    await runs.delete(principalOf(c), refOf(c));
    return c.body(null, 204);
  });

  app.get("/threads/:thread_id/runs/:run_id/join", async (c) => {
    const ref = refOf(c);
    const { cancel_on_disconnect: cancels } = parseQuery(JoinQuery, c);
    await runs.get(principalOf(c), ref);
    return liveResponse(
      c,
      (gone) => asFinalValues(() => runs.join(principalOf(c), ref, gone), log),
      json({ headers: {}, ...(cancels && { onGone: () => abandon(c, ref) }) }),
    );
  });

  app.post("/threads/:thread_id/runs/:run_id/cancel", async (c) => {
    const options = parseQuery(CancelQuery, c);
    await runs.cancel(principalOf(c), refOf(c), options);
    return c.body(null, options.wait ? 204 : 202);
  });

  return app;
}

const eventStream = (options: LiveOptions) => withHeader(options, "content-type", "text/event-stream");
const json = (options: LiveOptions) => withHeader(options, "content-type", "application/json");

function withHeader(options: LiveOptions, name: string, value: string): LiveOptions {
  return { ...options, headers: { ...options.headers, [name]: value } };
}

function threadOf(c: C): ThreadId | undefined {
  const given = c.req.param("thread_id");
  return given === undefined ? undefined : parse(ThreadId, given);
}

/** Paths, not URLs: the SDK puts its own base before them. It reconnects at `location` and reads the ids out of the other. */
function runHeaders(c: C, run: Run) {
  const scope = threadOf(c) ? `/threads/${run.thread_id}` : "";
  const path = `${scope}/runs/${run.run_id}`;
  return { "content-location": path, location: `${path}/stream` };
}

function digest(c: C, body: string): Buffer {
  return createHash("sha256").update(`${c.req.method} ${c.req.path}\n${body}`).digest();
}

/** The stock SDK sends the items of a batch as its callers wrote them, in camel case. */
function toSnakeCase(item: unknown): unknown {
  if (item === null || typeof item !== "object" || Array.isArray(item)) return item;
  const renamed = Object.entries(item).map(([key, value]) => [
    key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    value,
  ]);
  return { ...Object.fromEntries(renamed), ...item };
}

function pick(run: Run, keys: (keyof Run)[]): Partial<Run> {
  return Object.fromEntries(keys.map((key) => [key, run[key]]));
}
