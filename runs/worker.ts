/**
 * Claims runs while there is room and executes them. Woken by signals and by its own finished runs; a sweep every second
 * is the backstop for lost signals and finds what nobody signals: expired leases and delayed runs that became due.
 */
import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import type { ConnectTo } from "../db/pool.ts";
import type { Signals } from "../db/signals.ts";
import { asError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { Answering } from "./answering.ts";
import { isAbandoned } from "./attempt.ts";
import { adoptRun, type ClaimedRun, claimRuns, type HeldRun } from "./claim.ts";
import type { Hub } from "./events/hub.ts";
import { ExecutingRuns } from "./executing.ts";
import type { Graphs } from "./index.ts";
import { Isolation, type StartIsolated } from "./isolation.ts";
import { LastingMembership } from "./membership/lasting.ts";
import { requeueRun, requeueWorker } from "./requeue.ts";
import { Stop } from "./stop.ts";
import { findDeadWorkers, ownRuns, promoteDueRuns } from "./sweep.ts";

interface WorkerOptions {
  readonly pool: pg.Pool;
  readonly connection: ConnectTo;
  readonly hub: Hub;
  readonly signals: Signals;
  readonly graphs: Graphs;
  /** See `AttemptContext`. */
  readonly answering?: Answering;
  /** Runs that execute at once. */
  readonly concurrency: number;
  readonly leaseSeconds: number;
  readonly log: Log;
  /** Gives a process to a run that is suspected of ending its own. Without it such a run has this process for itself. */
  readonly startIsolated?: StartIsolated;
  /** This run alone, which another worker holds for this one; none is claimed. */
  readonly only?: HeldRun;
}

const SWEEP_MS = 1_000;

export class RunWorker {
  readonly #options: WorkerOptions;
  readonly #executing: ExecutingRuns;
  readonly #isolation: Isolation;
  readonly #membership: LastingMembership;
  readonly #closing = new AbortController();
  readonly #unsubscribe: (() => void)[] = [];
  /** There may be runs to claim that this worker has not looked for yet. */
  #hasWork = true;
  #mustSweep = true;
  #pumping: Promise<void> | undefined;

  private constructor(options: WorkerOptions) {
    this.#options = options;
    const closing = this.#closing.signal;
    this.#executing = new ExecutingRuns(options, (mayClaimMore) => this.#onEnd(mayClaimMore));
    this.#isolation = new Isolation({
      pool: options.pool,
      log: options.log,
      start: options.startIsolated,
      closing,
      othersEnded: () => this.#executing.ended(),
      execute: (run) => this.#executing.execute(run, this.id),
      onDead: (workerId) => this.#takeOver(workerId),
    });
    this.#membership = new LastingMembership({
      ...options,
      closing,
      active: () => this.active,
      onDead: (workerId) => this.#takeOver(workerId),
      onLost: (reason) => {
        this.#executing.stopAll({ kind: "lost", detail: reason });
        this.#executing.forget(); // what is left of them must take nobody's place
      },
      onRejoined: () => this.#sweepSoon(),
    });
  }

  static async start(options: WorkerOptions): Promise<RunWorker> {
    const worker = new RunWorker(options);
    await worker.#membership.join();
    const timer = setInterval(() => worker.#sweepSoon(), SWEEP_MS);
    worker.#unsubscribe.push(
      () => clearInterval(timer),
      options.signals.on("work", () => worker.wake()),
      options.signals.on("control", () => worker.#sweepSoon()),
    );
    worker.wake();
    return worker;
  }

  /** Of the worker that this process is; another one after it has lost its lease. */
  get id(): string {
    return this.#membership.workerId;
  }

  /** Runs that execute now, here or in processes of this worker. */
  get active(): number {
    return this.#executing.size + this.#isolation.active;
  }

  /** Resolves when what could be claimed at first has ended or is given back, which waits for the database. */
  async idle(): Promise<void> {
    await this.#pumping;
    await this.#executing.ended();
    await this.#membership.settled();
  }

  /** Looks for work soon. */
  wake(): void {
    this.#hasWork = true;
    this.#pump();
  }

  /** Claims no more and asks running graphs to stop at their next step; those that have not after `graceMs` are stopped. */
  async close(graceMs: number): Promise<void> {
    this.#closing.abort();
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#executing.drain();
    await this.#pumping;
    this.#executing.drain(); // what was claimed meanwhile
    this.#isolation.stop();
    await this.#endedWithin(graceMs);
    this.#executing.stopAll({ kind: "shutdown" });
    this.#isolation.cut();
    await this.#ended();
    await this.#membership.leave();
  }

  async #ended(): Promise<void> {
    await Promise.all([this.#executing.ended(), this.#isolation.ended()]);
  }

  async #endedWithin(graceMs: number): Promise<void> {
    const over = new AbortController();
    await Promise.race([
      this.#ended(),
      delay(graceMs, undefined, { signal: over.signal }).catch(() => {}), // the attempts were first
    ]);
    over.abort();
  }

  #onEnd(mayClaimMore: boolean): void {
    if (!mayClaimMore) return this.#pump();
    this.#options.signals.send("work", "");
    this.wake();
  }

  #sweepSoon(): void {
    this.#mustSweep = true;
    this.wake();
  }

  #pump(): void {
    this.#pumping ??= this.#work()
      .catch((thrown: unknown) =>
        this.#options.log.warn({ error: asError(thrown) }, "claiming failed, trying again soon"),
      )
      .finally(() => {
        this.#pumping = undefined;
        if (this.#isWanted()) this.#pump(); // woken after the last look and before this
      });
  }

  #isWanted(): boolean {
    if (!this.#membership.isJoined || this.#closing.signal.aborted) return false;
    return this.#mustSweep || (this.#hasWork && this.#free > 0);
  }

  get #free(): number {
    return this.#isolation.isExclusive ? 0 : this.#options.concurrency - this.active;
  }

  async #work(): Promise<void> {
    while (this.#isWanted()) {
      if (this.#mustSweep) {
        this.#mustSweep = false;
        await this.#sweep();
      }
      const free = this.#free;
      if (free <= 0) continue; // there may be work all the same: a run that ends looks for it
      this.#hasWork = false;
      const claimed = await this.#claim(free);
      for (const run of claimed) void this.#executing.execute(run, this.id);
      if (claimed.length === free) this.#hasWork = true; // perhaps there was more
    }
  }

  async #claim(limit: number): Promise<ClaimedRun[]> {
    const { pool, graphs, only } = this.#options;
    if (only) return adoptRun(pool, only, this.id);
    return claimRuns(pool, { workerId: this.id, graphs: [...graphs.values()], limit });
  }

  /** Suspects wait for a sweep: an isolated run takes a while to start anyway, and each claim would look for them. */
  async #claimSuspects(): Promise<void> {
    const { pool, graphs, only } = this.#options;
    const limit = Math.min(this.#free, this.#isolation.free);
    if (only || limit <= 0) return;
    const options = { workerId: this.id, graphs: [...graphs.values()], limit, suspects: true };
    for (const run of await claimRuns(pool, options)) {
      if (isAbandoned(run)) void this.#executing.execute(run, this.id);
      else void this.#isolation.isolate(run, this.id).then(() => this.#sweepSoon());
    }
  }

  async #sweep(): Promise<void> {
    const { pool } = this.#options;
    const started = this.#executing.handles();
    const own = await ownRuns(pool, this.id);
    for (const { run, stopping } of started) {
      // Deleted, or taken over: what its graph still does is for nothing.
      if (!own.some(({ run_id }) => run_id === run.run_id))
        stopping.abort(new Stop({ kind: "lost", detail: "not ours any more" }));
    }
    for (const run of own) {
      const handle = this.#executing.handleOf(run.run_id);
      if (!handle && this.#isolation.has(run.run_id)) continue;
      if (!handle) await requeueRun(pool, { ...run, worker_id: this.id });
      else if (run.cancel_action) handle.stopping.abort(new Stop({ kind: "cancelled", action: run.cancel_action }));
    }
    for (const dead of await findDeadWorkers(pool, this.id)) await this.#takeOver(dead);
    if (await promoteDueRuns(pool)) this.#hasWork = true;
    await this.#claimSuspects();
  }

  async #takeOver(workerId: string): Promise<void> {
    const runs = await requeueWorker(this.#options.pool, workerId);
    const suspects = runs.filter((run) => run.suspect);
    this.#options.log.warn({ dead_worker: workerId, runs: runs.length, suspects }, "took over from a dead worker");
    if (runs.length === 0) return;
    this.#options.signals.send("work", "");
    this.#sweepSoon();
  }
}
