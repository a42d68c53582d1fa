/**
 * `GET /metrics`: the names of LangGraph's server where there is such a figure, `pawl_` for the rest. Queue and workers
 * are those of all processes on this database, each by the workers' heartbeats; pools, HTTP and event loop are this
 * process's own.
 */
import { Hono, type MiddlewareHandler } from "hono";
import { routePath } from "hono/route";
import { Counter, Histogram, Registry } from "prom-client";
import { z } from "zod";
import { LoopLagMeter } from "../lib/loop-lag.ts";
import type { Figures } from "../runs/figures.ts";
import type { ServerEnv } from "./app.ts";
import { createGauges, type PoolFigures } from "./gauges.ts";
import { parseQuery } from "./parse.ts";

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
  const record = createGauges(registry);
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

  const routes = new Hono<ServerEnv>();
  routes.get("/metrics", async (c) => {
    const { format } = parseQuery(Format, c);
    record({ figures: await figures(), lag: meter.read(), pools: pools() });
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
