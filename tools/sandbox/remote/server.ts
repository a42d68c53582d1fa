/**
 * The other side of the remote sandbox: serves the executors of its own machine to whoever has the token. It keeps
 * nothing: a run's files are in a folder that goes with it. `pawl sandbox-server` starts it.
 */
import { randomUUID } from "node:crypto";
import { mkdtemp } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createAdaptorServer } from "@hono/node-server";
import { Hono } from "hono";
import { bearerAuth } from "hono/bearer-auth";
import { bodyLimit } from "hono/body-limit";
import { HTTPException } from "hono/http-exception";
import { stream } from "hono/streaming";
import { asError, isPawlError } from "../../../lib/errors.ts";
import type { Isolation } from "../../../lib/isolation.ts";
import type { Log } from "../../../lib/log.ts";
import { removeTree } from "../machine-folders.ts";
import { languages, selectExecutor } from "../select.ts";
import { maxTransferMb } from "../wasm/transfer.ts";
import { heartbeatMs, type Line, RunBody, RunId, runPath, sandboxesPath, type Sandboxes } from "./protocol.ts";
import { type Here, runHere } from "./run.ts";

interface SandboxServerOptions {
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
  readonly token: string;
  /** The weakest isolation that is served. */
  readonly minimum: Isolation;
  readonly maxRuns: number;
  /** Hosts that code may reach which asks for them. */
  readonly allowedHosts: readonly string[];
  readonly log: Log;
}

export interface SandboxServer extends AsyncDisposable {
  readonly url: string;
}

/** Base64, and the code and input beside it. */
const maxBody = Math.ceil((maxTransferMb * 4) / 3 + 2) * 1_024 * 1_024;

export async function startSandboxServer(options: SandboxServerOptions): Promise<SandboxServer> {
  const running = new Map<string, AbortController>();
  // Before anybody can ask: a self-test takes longer than a caller waits for an answer.
  const sandboxes = await sandboxesHere(options.minimum);
  options.log.info({ sandboxes }, "sandboxes");
  const server = createAdaptorServer({ fetch: routes(options, sandboxes, running).fetch });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(options.port, options.host, resolve);
  });
  const { address, family, port } = server.address() as AddressInfo;
  return {
    url: `http://${family === "IPv6" ? `[${address}]` : address}:${port}`,
    async [Symbol.asyncDispose]() {
      for (const run of running.values()) run.abort();
      await new Promise((resolve) => void server.close(resolve));
    },
  };
}

function routes(
  { token, minimum, maxRuns, allowedHosts, log }: SandboxServerOptions,
  sandboxes: Sandboxes["sandboxes"],
  running: Map<string, AbortController>,
): Hono {
  const app = new Hono();
  app.use(bearerAuth({ token }));
  app.onError((error, c) => {
    if (error instanceof HTTPException) return error.getResponse();
    log.error({ error }, "A sandbox request failed");
    return c.text("Internal error", 500);
  });

  app.get(sandboxesPath, (c) => c.json({ sandboxes } satisfies Sandboxes));

  app.put(runPath(":id"), bodyLimit({ maxSize: maxBody }), async (c) => {
    const id = RunId.safeParse(c.req.param("id"));
    const body = RunBody.safeParse(await c.req.json().catch(() => undefined));
    if (!id.success || !body.success) return c.text("That is not a run", 422);
    if (running.has(id.data)) return c.text("That run is there already", 409);
    if (running.size >= maxRuns) return c.text("Too many runs", 503);
    const stop = new AbortController();
    running.set(id.data, stop);
    return stream(c, async (to) => {
      to.onAbort(() => stop.abort());
      const say = (line: Line): Promise<unknown> => to.write(`${JSON.stringify(line)}\n`);
      const heartbeat = setInterval(() => void say({ type: "alive" }), heartbeatMs);
      try {
        await say({ type: "alive" });
        await say(await answer(body.data, minimum, { signal: stop.signal, say }));
      } finally {
        clearInterval(heartbeat);
        running.delete(id.data);
      }
    });
  });

  /** Harmless for a run that is over, or never was. */
  app.delete(runPath(":id"), (c) => {
    running.get(c.req.param("id") ?? "")?.abort();
    return c.body(null, 204);
  });
  return app;

  async function answer(body: RunBody, least: Isolation, how: Pick<Here, "signal" | "say">): Promise<Line> {
    const root = await mkdtemp(join(tmpdir(), "pawl-remote-"));
    try {
      const executor = await selectExecutor(body.language, least, "own");
      return await runHere(body, { executor, workspace: { threadId: randomUUID(), root }, allowedHosts, ...how });
    } catch (error) {
      const isSaid = isPawlError(error, "sandbox_denied");
      if (!isSaid) log.error({ error: asError(error) }, "A sandbox failed");
      const note = isSaid ? error.message : "The sandbox failed";
      return { type: "end", status: "denied", exit_code: null, note, folders: [], files: [], deleted: [] };
    } finally {
      await removeTree(root);
    }
  }
}

async function sandboxesHere(minimum: Isolation): Promise<Sandboxes["sandboxes"]> {
  const found: Sandboxes["sandboxes"] = {};
  for (const language of languages) {
    const executor = await selectExecutor(language, minimum, "own").catch(ifDenied);
    if (executor) found[language] = { isolation: executor.kind };
  }
  return found;
}

function ifDenied(error: unknown): undefined {
  if (!isPawlError(error, "sandbox_denied")) throw error;
  return undefined;
}
