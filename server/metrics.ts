/**
 * `GET /metrics`: the names of LangGraph's server where there is such a figure, `pawl_` for the rest. Queue and workers
 * are those of all processes on this database, each by the workers' heartbeats; pools, HTTP and event loop are this
 * process's own.
 */
import { Hono, type MiddlewareHandler } from "hono";
import { routePath } from "hono/route";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { z } from "zod";
import { LoopLagMeter } from "../lib/loop-lag.ts";
import type { Figures } from "../runs/figures.ts";
import type { ServerEnv } from "./app.ts";
import { parseQuery } from "./parse.ts";

/** Of a pool of connections, as `pg` has it. */
export interface PoolFigures {
  readonly max: number;
  readonly size: number;
  readonly available: number;
  readonly waiting: number;
}

interface MetricsOptions {
  readonly figures: () => Promise<Figures>;
  /** By name. */
  readonly pools: () => Readonly<Record<string, PoolFigures>>;
}

interface Metrics {
  readonly routes: Hono<ServerEnv>;
  /** Counts requests; comes before the routes. */
  readonly count: MiddlewareHandler<ServerEnv>;
  close(): void;
}

const Format = z.object({ format: z.enum(["prometheus", "json"]).default("prometheus") });
const LATENCY_BUCKETS_MS = [1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000];

export function createMetrics({ figures, pools }: MetricsOptions): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const gauge = <L extends string = never>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Gauge<L>({ name, help, labelNames, registers });

  const pending = gauge("lg_api_num_pending_runs", "Runs that wait to be executed");
  const running = gauge("lg_api_num_running_runs", "Runs that execute");
  const suspects = gauge("pawl_suspect_runs", "Live runs that execute alone, since a worker died with them");
  const unknownEffects = gauge("pawl_unknown_effects", "Effects of unknown outcome that wait for a person's decision");
  const longestWait = gauge("pawl_longest_wait_seconds", "Since the longest waiting run became due");
  const workersMax = gauge("lg_api_workers_max", "Runs that all workers can execute at once");
  const workersActive = gauge("lg_api_workers_active", "Places of workers that are taken");
  const workersAvailable = gauge("lg_api_workers_available", "Places of workers that are free");
  const workerLag = gauge(
    "pawl_worker_event_loop_lag_seconds",
    "Longest delay between a worker's last two heartbeats",
    ["worker", "host", "pid"],
  );
  const lag = gauge("pawl_event_loop_lag_seconds", "Delay of this process's event loop since the last look", [
    "quantile",
  ]);
  const pool = {
    max: gauge("lg_api_pg_pool_max", "Connections that the pool may have", ["pool"]),
    size: gauge("lg_api_pg_pool_size", "Connections that the pool has", ["pool"]),
    available: gauge("lg_api_pg_pool_available", "Connections that are idle", ["pool"]),
    waiting: gauge("pawl_pg_pool_waiting", "Callers that wait for a connection", ["pool"]),
  };
  const labelNames = ["method", "path", "status"] as const;
  const requests = new Counter({ name: "lg_api_http_requests_total", help: "Requests", labelNames, registers });
  const latency = new Histogram({
    name: "lg_api_http_requests_latency",
    help: "Milliseconds until an answer begins",
    labelNames,
    buckets: LATENCY_BUCKETS_MS,
    registers,
  });
  const meter = new LoopLagMeter();

  async function look(): Promise<void> {
    const now = await figures();
    pending.set(now.pending);
    running.set(now.running);
    suspects.set(now.suspects);
    longestWait.set(now.longest_wait);
    unknownEffects.set(now.unknown_effects);
    const places = now.workers.reduce((sum, { concurrency }) => sum + concurrency, 0);
    workersMax.set(places);
    workersActive.set(now.running);
    workersAvailable.set(Math.max(0, places - now.running));
    workerLag.reset(); // those that are gone go
    for (const { worker_id, host, pid, loop_lag_ms } of now.workers) {
      workerLag.set({ worker: worker_id, host, pid: String(pid) }, loop_lag_ms / 1_000);
    }
    const { p50, p99, max } = meter.read();
    for (const [quantile, ms] of Object.entries({ "0.5": p50, "0.99": p99, "1": max }))
      lag.set({ quantile }, ms / 1_000);
    for (const [name, own] of Object.entries(pools())) {
      for (const key of ["max", "size", "available", "waiting"] as const) pool[key].set({ pool: name }, own[key]);
    }
  }

  const routes = new Hono<ServerEnv>();
  routes.get("/metrics", async (c) => {
    const { format } = parseQuery(Format, c);
    await look();
    if (format === "json") return c.json(await registry.getMetricsAsJSON());
    return c.body(await registry.metrics(), 200, { "content-type": registry.contentType });
  });

  return {
    routes,
    async count(c, next) {
      const begun = performance.now();
      await next();
      const labels = { method: c.req.method, path: routePath(c, -1), status: String(c.res.status) };
      requests.inc(labels);
      latency.observe(labels, performance.now() - begun);
    },
    close: () => meter.stop(),
  };
}
