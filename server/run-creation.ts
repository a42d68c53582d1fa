/**
 * The POSTs that create runs. Once a run is committed nothing here may answer with a status of failure, or the stock
 * SDK would send the POST again; and for each run the server says whether its client got the answer.
 */
import { createHash } from "node:crypto";
import { type Context, Hono } from "hono";
import { z } from "zod";
import type { RunId } from "../lib/ids.ts";
import { type Run, RunCreate } from "../runs/index.ts";
import type { ServerEnv } from "./app.ts";
import { onAnswered, onPresence } from "./delivery.ts";
import { liveResponse, type LiveOptions } from "./live-response.ts";
import { parse, parseBody, readJson, readText } from "./parse.ts";
import { principalOf } from "./principal.ts";
import { asEventStream, asFinalValues } from "./run-answers.ts";
import { abandon, type RunRoutesOptions, threadOf } from "./run-request.ts";

type C = Context<ServerEnv>;

const IdempotencyKey = z.string().min(1).max(255).optional();

export function runCreationRoutes(options: RunRoutesOptions): Hono<ServerEnv> {
  const { runs, log } = options;
  const app = new Hono<ServerEnv>();

  for (const base of ["/threads/:thread_id/runs", "/runs"]) {
    app.post(base, async (c) => {
      const { run } = await create(options, c);
      onAnswered(c, (wasDelivered) => settle(options, run.run_id, wasDelivered));
      return c.json(run, 200, runHeaders(c, run));
    });

    app.post(`${base}/stream`, async (c) => {
      const created = await create(options, c);
      const ref = refTo(created.run);
      const open = (signal: AbortSignal) => runs.events(principalOf(c), ref, { after: "-1", signal });
      const onEvent = options.openAnswers?.add(c);
      return liveResponse(c, (gone) => asEventStream(() => open(gone), gone, { ...options, onEvent }), {
        ...followed(options, c, created),
        type: "text/event-stream",
      });
    });

    app.post(`${base}/wait`, async (c) => {
      const created = await create(options, c);
      const ref = refTo(created.run);
      options.openAnswers?.add(c);
      return liveResponse(c, (gone) => asFinalValues(() => runs.join(principalOf(c), ref, gone), gone, log), {
        ...followed(options, c, created),
        type: "application/json",
      });
    });
  }

  app.post("/runs/batch", async (c) => {
    const created = await createBatch(options, c);
    onAnswered(c, (wasDelivered) => created.forEach((run) => settle(options, run.run_id, wasDelivered)));
    return c.json(created);
  });

  return app;
}

interface Created {
  readonly run: Run;
  readonly body: RunCreate;
}

async function create({ runs }: RunRoutesOptions, c: C): Promise<Created> {
  const threadId = threadOf(c);
  const idempotencyKey = parse(IdempotencyKey, c.req.header("idempotency-key"));
  const body = await parseBody(RunCreate, c);
  const run = await runs.create(principalOf(c), body, {
    digest: digest(c, await readText(c)),
    ...(threadId && { threadId }),
    ...(idempotencyKey && { idempotencyKey }),
  });
  return { run, body };
}

/** All of them, or an error: then those that were made already are found by the client's next try. */
async function createBatch(options: RunRoutesOptions, c: C): Promise<Run[]> {
  const items = parse(z.array(z.unknown()).min(1).max(100), await readJson(c));
  const bodies = parse(z.array(RunCreate), items.map(toSnakeCase));
  const idempotencyKey = parse(IdempotencyKey, c.req.header("idempotency-key"));
  const text = await readText(c);
  const created: Run[] = [];
  try {
    for (const [index, body] of bodies.entries()) {
      const run = await options.runs.create(principalOf(c), body, {
        digest: digest(c, `${index}\n${text}`),
        ...(idempotencyKey && { idempotencyKey: `${idempotencyKey}/${index}` }),
      });
      created.push(run);
    }
    return created;
  } catch (error) {
    // The client hears of none of them.
    for (const { run_id } of created) settle(options, run_id, false);
    throw error;
  }
}

/** Notes whether the answer to a POST has arrived. */
function settle({ runs, log }: RunRoutesOptions, runId: RunId, wasDelivered: boolean): void {
  runs
    .answered(runId, wasDelivered)
    .catch((error: unknown) => log.warn({ error, run_id: runId }, "A delivery was not recorded"));
}

/** How a live answer begins and breaks off. */
function followed(options: RunRoutesOptions, c: C, { run, body }: Created): Omit<LiveOptions, "type"> {
  let wasDelivered: boolean | undefined;
  const settleOnce = (delivered: boolean): void => {
    if (wasDelivered !== undefined) return;
    wasDelivered = delivered;
    settle(options, run.run_id, delivered);
  };
  return {
    headers: runHeaders(c, run),
    onBegun: () => onPresence(c, settleOnce),
    onGone: () => {
      settleOnce(false);
      // Who never got the answer will send the POST again, and wants the run.
      if (wasDelivered && body.on_disconnect === "cancel") abandon(options, c, refTo(run));
    },
  };
}

function refTo(run: Run) {
  return { threadId: run.thread_id, runId: run.run_id };
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
