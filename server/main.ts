/** The server as a whole: a runtime, and HTTP in front of it. */
import type { Hono } from "hono";
import type pg from "pg";
import type { ConnectTo } from "../db/pool.ts";
import type { Config } from "../lib/config.ts";
import { PawlError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { modelReadiness } from "../models/readiness.ts";
import { listEffects } from "../runs/effects/list.ts";
import { readFigures } from "../runs/figures.ts";
import type { Graphs } from "../runs/index.ts";
import type { StartIsolated } from "../runs/isolation.ts";
import { sandboxStates } from "../tools/sandbox/select.ts";
import { createApp, type ServerEnv } from "./app.ts";
import { assistantRoutes } from "./assistants.ts";
import { effectRoutes } from "./effects.ts";
import { fileRoutes } from "./files.ts";
import { isLoopback } from "./guard.ts";
import { listen } from "./listen.ts";
import type { PoolFigures } from "./gauges.ts";
import { createMetrics } from "./metrics.ts";
import { metaRoutes } from "./meta.ts";
import { runRoutes } from "./runs.ts";
import { OpenAnswers } from "./open-answers.ts";
import type { ThreadRetention } from "./project.ts";
import { openRuntime, type Runtime } from "./runtime.ts";
import { threadRoutes } from "./threads.ts";
import { truncate } from "./truncate.ts";

export interface ServeOptions {
  readonly config: Config;
  readonly log: Log;
  readonly connection: ConnectTo;
  readonly graphs: Graphs;
  readonly host: string;
  /** 0 for any free one; absent for the default or the next that is free. */
  readonly port?: number;
  /** Whether this process executes runs too. */
  readonly works: boolean;
  /** Workers that belong to this server and are in another process: they drain with it. */
  readonly workers?: { drain(): Promise<void> };
  /** See `RuntimeOptions`. */
  readonly startIsolated?: StartIsolated;
  readonly threadRetention?: ThreadRetention | undefined;
  /** The operator says that everybody who reaches the address may drive the server. */
  readonly isInsecure: boolean;
}

export interface RunningServer {
  readonly url: string;
  readonly port: number;
  /** Whether the default port was taken. */
  readonly moved: boolean;
  /** Stops accepting, drains the runs for `graceMs` at most, cuts the connections, lets go of the database. */
  close(graceMs: number): Promise<void>;
  /** Calls `handler` once if the database was rewound (a restore, a fail-over): the process has to end. */
  onDatabaseChanged(handler: (error: PawlError) => void): void;
}

/** Throws `bad_configuration` for an address that is taken, or open to others without `isInsecure`. */
export async function startServer(options: ServeOptions): Promise<RunningServer> {
  const { config, log, host, port, isInsecure } = options;
  if (!isLoopback(host) && !isInsecure) {
    const advice = "Everybody who reaches it could drive it: bind 127.0.0.1, or give --insecure";
    throw new PawlError("bad_configuration", `${host} is open to others and there is no authentication. ${advice}`);
  }
  const runtime = await openRuntime(options);
  const closing = new AbortController();
  const openAnswers = new OpenAnswers();
  const metrics = createMetrics({
    figures: () => readFigures(runtime.pool),
    pools: () => ({ api: poolFigures(runtime.pool), worker: poolFigures(runtime.workerPool) }),
  });
  const app = createApp({
    log,
    guard: {
      bindHost: host,
      anyHost: isInsecure && !isLoopback(host),
      allowedHosts: config.allowedHosts,
      corsOrigins: config.corsOrigins,
    },
    maxBodyBytes: config.maxBodyBytes,
    count: metrics.count,
    routes: [metrics.routes, ...routesOf(options, runtime, { closing: closing.signal, openAnswers })],
  });
  try {
    const listening = await listen(app, port === undefined ? { host } : { host, port });
    return {
      url: listening.url,
      port: listening.port,
      moved: listening.moved,
      onDatabaseChanged: (handler) => runtime.onDatabaseChanged(handler),
      async close(graceMs) {
        closing.abort();
        listening.stopAccepting();
        const deadline = performance.now() + graceMs;
        await Promise.all([runtime.drain(graceMs), options.workers?.drain()]);
        // Where other workers are, they finish these runs: whoever waits here can still be told how.
        if (await isWorkedOn(runtime)) await openAnswers.settled(deadline - performance.now());
        await listening.close();
        metrics.close();
        await runtime.close();
      },
    };
  } catch (error) {
    metrics.close();
    await runtime.drain(0);
    await runtime.close();
    throw error;
  }
}

function routesOf(
  { config, log }: Pick<ServeOptions, "config" | "log">,
  runtime: Runtime,
  { closing, openAnswers }: { readonly closing: AbortSignal; readonly openAnswers: OpenAnswers },
): Hono<ServerEnv>[] {
  const { runs, threads, assistants, pool } = runtime;
  return [
    metaRoutes({
      sandboxes: () => sandboxStates(config.sandboxMin),
      checks: { database: () => checkDatabase(runtime), model: checkModel },
      ...(config.internalRoutes && { truncate: (what) => truncate(pool, what) }),
    }),
    runRoutes({ runs, log, heartbeatSeconds: config.heartbeatSeconds, closing, openAnswers }),
    threadRoutes(threads),
    fileRoutes(threads.files),
    effectRoutes((principal, search) => listEffects(pool, principal, search)),
    assistantRoutes(assistants),
  ];
}

function poolFigures({ options, totalCount, idleCount, waitingCount }: pg.Pool): PoolFigures {
  return { max: options.max, size: totalCount, available: idleCount, waiting: waitingCount };
}

/** Whether any process executes runs; not this one any more, once it has drained. */
async function isWorkedOn({ pool }: Runtime): Promise<boolean> {
  return readFigures(pool).then(
    ({ workers }) => workers.length > 0,
    () => false, // the database is away: nothing can be told
  );
}

async function checkDatabase({ pool }: Runtime): Promise<void> {
  await pool.query("select 1");
}

async function checkModel(): Promise<void> {
  const { ready, reason } = await modelReadiness();
  if (!ready) throw new PawlError("model_unavailable", reason ?? "The model is not ready");
}
