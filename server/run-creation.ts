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

  /** How a live answer begins and breaks off. */
  const followed = (c: C, run: Run, body: RunCreate): Omit<LiveOptions, "type"> => {
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
        if (wasDelivered && body.on_disconnect === "cancel") abandon(options, c, refTo(run));
      },
    };
  };

  for (const base of ["/threads/:thread_id/runs", "/runs"]) {
    app.post(base, async (c) => {
      const { run } = await create(c);
      onAnswered(c, (wasDelivered) => settle(run.run_id, wasDelivered));
      return c.json(run, 200, runHeaders(c, run));
    });

    app.post(`${base}/stream`, async (c) => {
      const { run, body } = await create(c);
      const open = (signal: AbortSignal) => runs.events(principalOf(c), refTo(run), { after: "-1", signal });
      const onTold = options.openAnswers?.add(c);
      return liveResponse(c, (gone) => asEventStream(() => open(gone), gone, { ...options, onTold }), {
        ...followed(c, run, body),
        type: "text/event-stream",
      });
    });

    app.post(`${base}/wait`, async (c) => {
      const { run, body } = await create(c);
      options.openAnswers?.add(c);
      return liveResponse(c, (gone) => asFinalValues(() => runs.join(principalOf(c), refTo(run), gone), gone, log), {
        ...followed(c, run, body),
        type: "application/json",
      });
    });
  }

  app.post("/runs/batch", async (c) => {
    const items = parse(z.array(z.unknown()).min(1).max(100), await readJson(c));
    const bodies = parse(z.array(RunCreate), items.map(toSnakeCase));
    const idempotencyKey = parse(IdempotencyKey, c.req.header("idempotency-key"));
    const text = await readText(c);
    const created: Run[] = [];
    try {
      for (const [index, body] of bodies.entries()) {
        const run = await runs.create(principalOf(c), body, {
          digest: digest(c, `${index}\n${text}`),
          ...(idempotencyKey && { idempotencyKey: `${idempotencyKey}/${index}` }),
        });
        created.push(run);
      }
    } catch (error) {
      // The client hears of none of them: its next try must find those that are there.
      for (const { run_id } of created) settle(run_id, false);
      throw error;
    }
    onAnswered(c, (wasDelivered) => created.forEach((run) => settle(run.run_id, wasDelivered)));
    return c.json(created);
  });

  return app;
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
