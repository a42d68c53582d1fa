/** The gauges of `/metrics`: what each is called, and what it is set from. */
import { Gauge, type Registry } from "prom-client";
import type { LoopLag } from "../lib/loop-lag.ts";
import type { Figures } from "../runs/figures.ts";

/** Of a pool of connections, as `pg` has it. */
export interface PoolFigures {
  readonly max: number;
  readonly size: number;
  readonly available: number;
  readonly waiting: number;
}

interface Reading {
  readonly figures: Figures;
  /** Of this process. */
  readonly lag: LoopLag;
  /** By name. */
  readonly pools: Readonly<Record<string, PoolFigures>>;
}

/** Registers them. The returned function sets all of them. */
export function createGauges(registry: Registry): (reading: Reading) => void {
  const gauge = <L extends string = never>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Gauge<L>({ name, help, labelNames, registers: [registry] });

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
  const ownLag = gauge("pawl_event_loop_lag_seconds", "Delay of this process's event loop since the last look", [
    "quantile",
  ]);
  const pool = {
    max: gauge("lg_api_pg_pool_max", "Connections that the pool may have", ["pool"]),
    size: gauge("lg_api_pg_pool_size", "Connections that the pool has", ["pool"]),
    available: gauge("lg_api_pg_pool_available", "Connections that are idle", ["pool"]),
    waiting: gauge("pawl_pg_pool_waiting", "Callers that wait for a connection", ["pool"]),
  };

  return ({ figures, lag, pools }) => {
    pending.set(figures.pending);
    running.set(figures.running);
    suspects.set(figures.suspects);
    longestWait.set(figures.longest_wait);
    unknownEffects.set(figures.unknown_effects);
    const places = figures.workers.reduce((sum, { concurrency }) => sum + concurrency, 0);
    workersMax.set(places);
    workersActive.set(figures.running);
    workersAvailable.set(Math.max(0, places - figures.running));
    workerLag.reset(); // those that are gone go
    for (const { worker_id, host, pid, loop_lag_ms } of figures.workers) {
      workerLag.set({ worker: worker_id, host, pid: String(pid) }, loop_lag_ms / 1_000);
    }
    const { p50, p99, max } = lag;
    for (const [quantile, ms] of Object.entries({ "0.5": p50, "0.99": p99, "1": max }))
      ownLag.set({ quantile }, ms / 1_000);
    for (const [name, own] of Object.entries(pools)) {
      for (const key of ["max", "size", "available", "waiting"] as const) pool[key].set({ pool: name }, own[key]);
    }
  };
}
