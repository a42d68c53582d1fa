/**
 * Claims runs while there is room and executes them. Woken by signals and by its own finished runs; a sweep every second
 * is the backstop for lost signals and finds what nobody signals: expired leases and delayed runs that became due.
 */
import { setTimeout as delay } from "node:timers/promises";
import { RunControl } from "@langchain/langgraph";
import type pg from "pg";
import type { ConnectTo } from "../db/pool.ts";
import type { Signals } from "../db/signals.ts";
import { asError } from "../lib/errors.ts";
import { uuidv7 } from "../lib/ids.ts";
import type { Log } from "../lib/log.ts";
import type { Answering } from "./answering.ts";
import { attemptRun, isAbandoned, type RunHandle } from "./attempt.ts";
import { adoptRun, type ClaimedRun, claimRuns, type HeldRun } from "./claim.ts";
import type { Hub } from "./events/hub.ts";
import type { Graphs } from "./index.ts";
import { Isolation, type StartIsolated } from "./isolation.ts";
import { joinWorkers, type Membership } from "./membership/join.ts";
import { requeueRun, requeueWorker } from "./requeue.ts";
import { Stop, type StopCause } from "./stop.ts";
import { findDeadWorkers, ownRuns, promoteDueRuns } from "./sweep.ts";

export interface WorkerOptions {
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
const REJOIN_MS = 500;

export class RunWorker {
  readonly #options: WorkerOptions;
  readonly #handles = new Map<string, RunHandle>();
  readonly #attempts = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  readonly #unsubscribe: (() => void)[] = [];
  readonly #isolation: Isolation;
  #workerId = "";
  /** Undefined while this process has no right to claim. */
  #membership: Membership | undefined;
  #hasWork = true;
  #mustSweep = true;
  #pumping: Promise<void> | undefined;
  #rejoining: Promise<void> | undefined;
  #givingBack: Promise<void> | undefined;

  private constructor(options: WorkerOptions) {
    this.#options = options;
    this.#isolation = new Isolation({
      pool: options.pool,
      log: options.log,
      start: options.startIsolated,
      closing: this.#closing.signal,
      othersEnded: () => Promise.all(this.#attempts),
      execute: (run) => this.#execute(run),
      onDead: (workerId) => this.#takeOver(workerId),
    });
  }

  static async start(options: WorkerOptions): Promise<RunWorker> {
    const worker = new RunWorker(options);
    await worker.#join();
    const timer = setInterval(() => worker.#sweepSoon(), SWEEP_MS);
    worker.#unsubscribe.push(
      () => clearInterval(timer),
      options.signals.on("work", () => worker.wake()),
      options.signals.on("control", () => worker.#sweepSoon()),
    );
    worker.wake();
    return worker;
  }

  get id(): string {
    return this.#workerId;
  }

  /** Runs that execute now, here or in processes of this worker. */
  get active(): number {
    return this.#handles.size + this.#isolation.active;
  }

  /** Resolves when what could be claimed at first has ended or is given back, which waits for the database. */
  async idle(): Promise<void> {
    await this.#pumping;
    await Promise.all(this.#attempts);
    await this.#rejoining;
    await this.#givingBack;
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
    this.#drain();
    await this.#pumping;
    this.#drain(); // what was claimed meanwhile
    this.#isolation.stop();
    await this.#settled(graceMs);
    this.#stopAll({ kind: "shutdown" });
    this.#isolation.cut();
    await Promise.all([...this.#attempts, this.#isolation.ended()]);
    await this.#rejoining;
    await this.#givingBack;
    await this.#requeueOwn(this.#workerId).catch((thrown: unknown) =>
      this.#options.log.warn({ error: asError(thrown) }, "runs are left to whoever takes them over"),
    );
    await this.#membership?.leave(); // it may be lost by now
  }

  #drain(): void {
    for (const { control } of this.#handles.values()) control.requestDrain("shutdown");
  }

  async #settled(graceMs: number): Promise<void> {
    const over = new AbortController();
    await Promise.race([
      Promise.all([...this.#attempts, this.#isolation.ended()]),
      delay(graceMs, undefined, { signal: over.signal }).catch(() => {}), // the attempts were first
    ]);
    over.abort();
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
    if (this.#membership === undefined || this.#closing.signal.aborted) return false;
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
      for (const run of claimed) void this.#execute(run);
      if (claimed.length === free) this.#hasWork = true; // perhaps there was more
    }
  }

  async #claim(limit: number): Promise<ClaimedRun[]> {
    const { pool, graphs, only } = this.#options;
    if (only) return adoptRun(pool, only, this.#workerId);
    return claimRuns(pool, { workerId: this.#workerId, graphs: [...graphs.values()], limit });
  }

  /** Suspects wait for a sweep: an isolated run takes a while to start anyway, and each claim would look for them. */
  async #claimSuspects(): Promise<void> {
    const { pool, graphs, only } = this.#options;
    const limit = Math.min(this.#free, this.#isolation.free);
    if (only || limit <= 0) return;
    const options = { workerId: this.#workerId, graphs: [...graphs.values()], limit, suspects: true };
    for (const run of await claimRuns(pool, options)) {
      if (isAbandoned(run)) void this.#execute(run);
      else void this.#isolation.isolate(run, this.#workerId).then(() => this.#sweepSoon());
    }
  }

  #execute(run: ClaimedRun): Promise<void> {
    const handle: RunHandle = { run, stopping: new AbortController(), control: new RunControl() };
    this.#handles.set(run.run_id, handle);
    const log = this.#options.log.child({ worker: this.#workerId });
    const attempt = attemptRun({ ...this.#options, log, workerId: this.#workerId }, handle).then((isMoreToDo) => {
      // A run that was given back may have been claimed again by now: then the handle is the next attempt's.
      if (this.#handles.get(run.run_id) === handle) this.#handles.delete(run.run_id);
      this.#attempts.delete(attempt);
      if (!isMoreToDo) return this.#pump();
      this.#options.signals.send("work", "");
      this.wake();
    });
    this.#attempts.add(attempt);
    return attempt;
  }

  async #sweep(): Promise<void> {
    const { pool } = this.#options;
    const started = [...this.#handles.values()];
    const own = await ownRuns(pool, this.#workerId);
    for (const { run, stopping } of started) {
      // Deleted, or taken over: what its graph still does is for nothing.
      if (!own.some(({ run_id }) => run_id === run.run_id))
        stopping.abort(new Stop({ kind: "lost", detail: "not ours any more" }));
    }
    for (const run of own) {
      const handle = this.#handles.get(run.run_id);
      if (!handle && this.#isolation.has(run.run_id)) continue;
      if (!handle) await requeueRun(pool, { ...run, worker_id: this.#workerId });
      else if (run.cancel_action) handle.stopping.abort(new Stop({ kind: "cancelled", action: run.cancel_action }));
    }
    for (const dead of await findDeadWorkers(pool, this.#workerId)) await this.#takeOver(dead);
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

  async #join(): Promise<void> {
    const { connection, pool, leaseSeconds, concurrency, log } = this.#options;
    await pool.query("select"); // it refuses a database that was rewound, and the heartbeat's own connection does not ask
    const id = uuidv7();
    this.#membership = await joinWorkers({
      connection,
      leaseSeconds,
      concurrency,
      workerId: id,
      onBlocked: (ms) => log.warn({ ms, runs: this.active }, "the main loop was blocked"),
      onDead: (workerId) =>
        this.#takeOver(workerId).catch((thrown: unknown) =>
          log.warn({ error: asError(thrown) }, "take-over failed, trying again"),
        ),
      onLost: (reason) => {
        this.#rejoining = this.#rejoin(reason);
      },
    });
    this.#workerId = id;
    log.info({ worker: id }, "worker joined");
  }

  /** What this worker executes may be others' by now; it goes on as a new one. */
  async #rejoin(reason: string): Promise<void> {
    const { log } = this.#options;
    const before = this.#workerId;
    log.error({ worker: this.#workerId, reason, runs: this.active }, "worker lost its lease");
    this.#membership = undefined;
    this.#stopAll({ kind: "lost", detail: reason });
    // What is left of them here takes nobody's place: it may wait for answers that never come.
    this.#handles.clear();
    while (!this.#membership && !this.#closing.signal.aborted) {
      await delay(REJOIN_MS, undefined, { signal: this.#closing.signal }).catch(() => {}); // closed meanwhile
      if (this.#closing.signal.aborted) return;
      // Begun first, and not waited for: a lock that somebody holds must not keep this worker from joining.
      this.#givingBack = this.#giveBack(before).catch((thrown: unknown) =>
        log.warn({ error: asError(thrown) }, "runs of before are left to whoever takes them over"),
      );
      await this.#join().catch((thrown: unknown) => log.warn({ error: asError(thrown) }, "could not rejoin yet"));
    }
    this.#sweepSoon();
  }

  /** What nobody has taken over yet: its process is alive, and no run of it is to be suspected of a death. */
  async #giveBack(workerId: string): Promise<void> {
    await this.#requeueOwn(workerId);
    await requeueWorker(this.#options.pool, workerId); // forgets it
    this.#options.signals.send("work", "");
  }

  /** What a worker that is no more was given by a claim, or kept by an end, whose answer was lost: no death of any run. */
  async #requeueOwn(workerId: string): Promise<void> {
    const { pool } = this.#options;
    for (const run of await ownRuns(pool, workerId)) await requeueRun(pool, { ...run, worker_id: workerId });
  }

  #stopAll(cause: StopCause): void {
    for (const { stopping } of this.#handles.values()) stopping.abort(new Stop(cause));
  }
}
