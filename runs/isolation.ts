/**
 * Executes suspects (runs with which a worker died) where they can hurt nobody: each in a process of its own, or, where
 * the host has none to give, in this one once everything else has ended.
 *
 * The claiming worker holds the run until the process that is to execute it has joined as a worker and adopts it, so
 * there is no moment at which it belongs to nobody, and its death in between counts against no run.
 */
import type pg from "pg";
import type { Log } from "../lib/log.ts";
import { adoptRun, type ClaimedRun, type HeldRun } from "./claim.ts";
import { requeueRun } from "./requeue.ts";

/** A process that was started for one run. */
interface IsolatedProcess {
  /** Asks it to give the run back at its next step. */
  stop(): void;
  /** Makes it give the run back now. */
  cut(): void;
  /** Never rejects. */
  readonly ended: Promise<IsolatedEnd>;
}

export interface IsolatedEnd {
  /** As which worker it executed; absent when it did not get that far. */
  readonly workerId?: string;
  /** It ended by itself, and left nothing behind. */
  readonly isOrderly: boolean;
}

/** Starts a process that executes this run and nothing else. */
export type StartIsolated = (run: HeldRun & { readonly graph_id: string }) => IsolatedProcess;

/** Runs that one worker isolates at once: each costs a process, and whole crowds come under suspicion together. */
const PROCESSES_AT_ONCE = 4;

interface IsolationOptions {
  readonly pool: pg.Pool;
  readonly log: Log;
  readonly start: StartIsolated | undefined;
  readonly closing: AbortSignal;
  /** Resolves when this process executes nothing. */
  readonly othersEnded: () => Promise<unknown>;
  readonly execute: (run: ClaimedRun) => Promise<void>;
  /** A process is dead, and with it this worker. */
  readonly onDead: (workerId: string) => Promise<void>;
}

export class Isolation {
  readonly #options: IsolationOptions;
  /** By claim, not by run: the lock may show the death of a process before its end is heard of, and its run is claimed again by then. */
  readonly #processes = new Map<ClaimedRun, IsolatedProcess | undefined>();
  readonly #ended = new Set<Promise<void>>();
  /** Suspects that this process executes itself, one after the other. */
  #here = 0;
  #turn: Promise<void> = Promise.resolve();

  constructor(options: IsolationOptions) {
    this.#options = options;
  }

  /** Runs that are isolated now. */
  get active(): number {
    return this.#processes.size;
  }

  /** How many more may be. */
  get free(): number {
    return (this.#options.start ? PROCESSES_AT_ONCE : 1) - this.#processes.size;
  }

  /** Whether this process is to claim nothing: it executes a suspect itself, or is about to. */
  get isExclusive(): boolean {
    return this.#here > 0;
  }

  has(runId: string): boolean {
    return [...this.#processes.keys()].some((run) => run.run_id === runId);
  }

  /** Takes over a run that `workerId`, this worker, has just claimed. Resolves when it is somebody else's, or over. */
  isolate(run: ClaimedRun, workerId: string): Promise<void> {
    const isolated = this.#isolate(run, workerId)
      .catch((error: unknown) =>
        this.#options.log.warn({ error, run_id: run.run_id }, "isolated run left to the queue"),
      )
      .finally(() => {
        this.#processes.delete(run);
        this.#ended.delete(isolated);
      });
    this.#ended.add(isolated);
    return isolated;
  }

  /** Asks all to give their runs back. */
  stop(): void {
    for (const isolated of this.#processes.values()) isolated?.stop();
  }

  /** Makes all give their runs back now. */
  cut(): void {
    for (const isolated of this.#processes.values()) isolated?.cut();
  }

  /** Resolves when none is left. */
  async ended(): Promise<void> {
    await Promise.all(this.#ended);
  }

  async #isolate(run: ClaimedRun, workerId: string): Promise<void> {
    const { start, log, onDead, closing } = this.#options;
    const held = { run_id: run.run_id, worker_id: workerId, epoch: run.epoch };
    const about = { run_id: run.run_id, stalled_attempts: run.stalled_attempts };
    log.warn({ ...about, process: start !== undefined }, "a suspect runs alone");
    const isolated = start?.({ ...held, graph_id: run.graph_id });
    this.#processes.set(run, isolated);
    const end = await isolated?.ended;
    if (end?.workerId !== undefined) {
      if (end.isOrderly) return;
      log.warn(about, "the process of a suspect died");
      return onDead(end.workerId); // its lock says so too, to whoever watches it
    }
    // Before it has joined, a signal to stop ends it like that, too.
    if (isolated && !closing.aborted)
      log.error(about, "no process could be started for a suspect: it runs alone in this one");
    this.#here += 1;
    const turn = this.#turn.then(() => this.#executeHere(run, held)).finally(() => (this.#here -= 1));
    this.#turn = turn.catch(() => {}); // the next one's turn comes all the same
    return turn;
  }

  async #executeHere(run: ClaimedRun, held: HeldRun): Promise<void> {
    const { pool, closing, othersEnded, execute } = this.#options;
    await othersEnded();
    if (closing.aborted) return void (await requeueRun(pool, { ...held, thread_id: run.thread_id }));
    const [adopted] = await adoptRun(pool, held, held.worker_id);
    if (adopted) await execute(adopted);
  }
}
