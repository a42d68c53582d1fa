/**
 * This process's place among the workers, for as long as the process runs. A worker that has lost its lease (it was
 * stopped, or its connection went dead) never gets it back: the process joins again as a new worker with a new id.
 */
import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import type { ConnectTo } from "../../db/pool.ts";
import type { Signals } from "../../db/signals.ts";
import { asError } from "../../lib/errors.ts";
import { uuidv7 } from "../../lib/ids.ts";
import type { Log } from "../../lib/log.ts";
import { requeueRun, requeueWorker } from "../requeue.ts";
import { ownRuns } from "../sweep.ts";
import { joinWorkers, type Membership } from "./join.ts";

const REJOIN_MS = 500;

interface LastingMembershipOptions {
  readonly pool: pg.Pool;
  readonly connection: ConnectTo;
  readonly signals: Signals;
  readonly leaseSeconds: number;
  readonly concurrency: number;
  readonly log: Log;
  /** Aborted when the process ends: it does not join again. */
  readonly closing: AbortSignal;
  /** How many runs execute here; for the log. */
  readonly active: () => number;
  /** See `joinWorkers`. */
  readonly onDead: (workerId: string) => Promise<void>;
  /** The lease is lost: nothing may be written any more for the runs that execute here. */
  readonly onLost: (reason: string) => void;
  /** The process is a worker again, and may claim. */
  readonly onRejoined: () => void;
}

export class LastingMembership {
  readonly #options: LastingMembershipOptions;
  #workerId = "";
  #current: Membership | undefined;
  #rejoining: Promise<void> | undefined;
  #givingBack: Promise<void> | undefined;

  constructor(options: LastingMembershipOptions) {
    this.#options = options;
  }

  /** Of the worker that this process is now, or was last. */
  get workerId(): string {
    return this.#workerId;
  }

  /** Whether this process may claim. */
  get isJoined(): boolean {
    return this.#current !== undefined;
  }

  /** Throws `database_unavailable`, `database_changed`. */
  async join(): Promise<void> {
    const { connection, pool, leaseSeconds, concurrency, log, active, onDead } = this.#options;
    await pool.query("select"); // it refuses a database that was rewound, and the heartbeat's own connection does not ask
    const id = uuidv7();
    this.#current = await joinWorkers({
      connection,
      leaseSeconds,
      concurrency,
      workerId: id,
      onBlocked: (ms) => log.warn({ ms, runs: active() }, "the main loop was blocked"),
      onDead: (workerId) =>
        onDead(workerId).catch((thrown: unknown) =>
          log.warn({ error: asError(thrown) }, "take-over failed, trying again"),
        ),
      onLost: (reason) => {
        this.#rejoining = this.#rejoin(reason);
      },
    });
    this.#workerId = id;
    log.info({ worker: id }, "worker joined");
  }

  /** Resolves when the process is a worker again, and what it had before is given back. */
  async settled(): Promise<void> {
    await this.#rejoining;
    await this.#givingBack;
  }

  /** Comes last: gives back what the worker still has, and lets go of its lock and its row. */
  async leave(): Promise<void> {
    await this.settled();
    await this.#requeueOwn(this.#workerId).catch((thrown: unknown) =>
      this.#options.log.warn({ error: asError(thrown) }, "runs are left to whoever takes them over"),
    );
    await this.#current?.leave(); // it may be lost by now
  }

  async #rejoin(reason: string): Promise<void> {
    const { log, closing, active, onLost, onRejoined } = this.#options;
    const before = this.#workerId;
    log.error({ worker: before, reason, runs: active() }, "worker lost its lease");
    this.#current = undefined;
    onLost(reason);
    while (!this.#current && !closing.aborted) {
      await delay(REJOIN_MS, undefined, { signal: closing }).catch(() => {}); // closed meanwhile
      if (closing.aborted) return;
      // Begun first, and not waited for: a lock that somebody holds must not keep this process from joining.
      this.#givingBack = this.#giveBack(before).catch((thrown: unknown) =>
        log.warn({ error: asError(thrown) }, "runs of before are left to whoever takes them over"),
      );
      await this.join().catch((thrown: unknown) => log.warn({ error: asError(thrown) }, "could not rejoin yet"));
    }
    onRejoined();
  }

  /** What nobody has taken over yet: its process is alive, and no run of it is to be suspected of a death. */
  async #giveBack(workerId: string): Promise<void> {
    const { pool, signals } = this.#options;
    await this.#requeueOwn(workerId);
    await requeueWorker(pool, workerId); // forgets it
    signals.send("work", "");
  }

  /**
   * What the worker has by the database: runs it was executing, and those of which it does not know, since the answer to
   * its claim was lost. That it has ended is no death of any of them.
   */
  async #requeueOwn(workerId: string): Promise<void> {
    const { pool } = this.#options;
    for (const run of await ownRuns(pool, workerId)) await requeueRun(pool, { ...run, worker_id: workerId });
  }
}
