/**
 * Runs effects on the world outside through a row each, wherever the rows are kept: the row is durable before the
 * effect, the result before the step that asked for it. An irreversible effect whose outcome was lost is not sent
 * again until the other side or a person says that it did not happen.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Effect, EffectAnswer, EffectContext, EffectState, KnownEffect, Reconciliation } from "./effect.ts";
import { type EffectRow, unknownEffect } from "./effect-row.ts";
import { PawlError } from "./errors.ts";
import type { FileChange } from "./file-versions.ts";

/** Where the rows are. Each method is one guarded statement, and throws `lease_lost` when the rows are another's now. */
export interface EffectRows {
  /**
   * Reserves the effect for the task, unless it is under way or settled; the row as it is then. What may be repeated
   * (an idempotent effect, a failure without a result or of another task, an effect of another task on files) is
   * reserved anew.
   */
  reserve(effect: TaskEffect): Promise<EffectRow>;
  /** `reserved` -> `dispatched`, durable, with a deadline `withinMs` from now. */
  dispatch(effect: TaskEffect, row: EffectRow, withinMs: number): Promise<EffectRow>;
  /** To `state`, from those that `cameFrom` allows, if `attempt` is still the last one. */
  settle(effect: TaskEffect, attempt: number, outcome: EffectOutcome): Promise<void>;
  /** Records what a person said about an unknown outcome, and does what it asks for. Once for each answer. */
  answer(about: AnsweredEffect, answer: EffectAnswer): Promise<void>;
  known(toolCallIds: readonly string[]): Promise<KnownEffect[]>;
}

export type TaskEffect<T = unknown> = Effect<T> & { readonly taskId: string };

/** The answer's place among those of the task tells it from the others, however often the task runs again. */
export interface AnsweredEffect {
  readonly key: string;
  readonly taskId: string;
  readonly attempt: number;
  readonly ordinal: number;
}

export interface EffectOutcome {
  readonly state: Exclude<EffectState, "dispatched">;
  readonly result?: unknown;
  readonly files?: FileChange | undefined;
}

const DEFAULT_TIMEOUT_MS = 60_000;

/**
 * How much later than the effect's time-out the deadline is: nothing is sent when the way back from the database took
 * longer, so all that an attempt does lies before its deadline, whatever the clocks here say.
 */
const MARGIN_MS = 2_000;

export class EffectLedger {
  readonly #rows: EffectRows;
  readonly #signal: AbortSignal;
  readonly #turns = new Map<string, Promise<unknown>>();

  /** `signal`: aborted when the run is cancelled or its worker lost the lease. */
  constructor(rows: EffectRows, signal: AbortSignal) {
    this.#rows = rows;
    this.#signal = signal;
  }

  /** See `HostPorts.effect`. Equal keys take turns: the second finds what the first one left. */
  async perform<T>(effect: TaskEffect<T>, fn: (context: EffectContext) => Promise<T>): Promise<T> {
    const before = this.#turns.get(effect.key);
    const work = (): Promise<T> => this.#perform(effect, fn);
    const turn = before ? before.then(work, work) : work();
    this.#turns.set(effect.key, turn);
    try {
      return await turn;
    } finally {
      if (this.#turns.get(effect.key) === turn) this.#turns.delete(effect.key);
    }
  }

  /** See `HostPorts.answerEffect`. */
  answer(about: AnsweredEffect, answer: EffectAnswer): Promise<void> {
    return this.#rows.answer(about, answer);
  }

  /** See `HostPorts.knownEffects`. */
  known(toolCallIds: readonly string[]): Promise<KnownEffect[]> {
    return this.#rows.known(toolCallIds);
  }

  async #perform<T>(effect: TaskEffect<T>, fn: (context: EffectContext) => Promise<T>): Promise<T> {
    this.#signal.throwIfAborted();
    const row = await this.#reconciled(effect, await this.#rows.reserve(effect));
    if (row.state !== "reserved") return resultOf(effect, row);
    this.#signal.throwIfAborted();
    return this.#send(effect, row, fn);
  }

  async #send<T>(effect: TaskEffect<T>, reserved: EffectRow, fn: (context: EffectContext) => Promise<T>): Promise<T> {
    const elapsed = stopwatch();
    const row = await this.#rows.dispatch(effect, reserved, (effect.timeoutMs ?? DEFAULT_TIMEOUT_MS) + MARGIN_MS);
    if (this.#signal.aborted || elapsed() > MARGIN_MS) {
      await this.#rows.settle(effect, row.attempt, { state: "reserved" });
      this.#signal.throwIfAborted();
      throw new PawlError("database_unavailable", `Dispatching ${effect.name} took too long; it was not sent`);
    }
    let result: T;
    try {
      result = await fn(this.#context(row));
    } catch (error) {
      return this.#afterFailure(effect, row, error);
    }
    await this.#rows.settle(effect, row.attempt, {
      state: effect.isFailure?.(result) ? "failed" : "committed",
      result: result ?? null,
      files: effect.changeOfFiles?.(),
    });
    return result;
  }

  /** A thrown error does not say whether anything happened. */
  async #afterFailure<T>(effect: TaskEffect<T>, { attempt }: EffectRow, error: unknown): Promise<T> {
    if (effect.kind === "idempotent") {
      await this.#rows.settle(effect, attempt, { state: "failed" });
      throw error;
    }
    await this.#rows.settle(effect, attempt, { state: "unknown" });
    this.#signal.throwIfAborted();
    const row = await this.#reconciled(effect, await this.#rows.reserve(effect));
    if (row.state !== "reserved") return resultOf(effect, row, error);
    await this.#rows.settle(effect, row.attempt, { state: "failed" });
    throw error;
  }

  /** Asks the other side about what was sent and not recorded. */
  async #reconciled<T>(effect: TaskEffect<T>, found: EffectRow): Promise<EffectRow> {
    let row = found;
    while (row.state === "dispatched" || (row.state === "unknown" && !row.isAbandoned)) {
      const { state, attempt, msToDeadline } = row;
      const said = await this.#ask(effect, row);
      if (said.happened === false && msToDeadline > 0) {
        await delay(msToDeadline, undefined, { signal: this.#signal });
      } else if (said.happened === "unknown") {
        if (state === "unknown") return row;
        await this.#rows.settle(effect, attempt, { state: "unknown" });
        return this.#rows.reserve(effect);
      } else {
        const outcome = said.happened ? { state: "committed", result: said.result ?? null } : { state: "reserved" };
        await this.#rows.settle(effect, attempt, outcome as EffectOutcome);
      }
      row = await this.#rows.reserve(effect);
    }
    return row;
  }

  /** A hook that fails says nothing. */
  async #ask<T>(effect: TaskEffect<T>, row: EffectRow): Promise<Reconciliation<T>> {
    const context = { ...this.#context(row), signal: this.#signal, dispatchedAt: row.dispatchedAt };
    const said = await effect.reconcile?.(context).catch(() => undefined);
    this.#signal.throwIfAborted();
    return said ?? { happened: "unknown" };
  }

  #context({ idempotencyKey, deadline, msToDeadline }: EffectRow): EffectContext {
    const signals = [this.#signal, AbortSignal.timeout(Math.max(0, Math.ceil(msToDeadline)))];
    return { idempotencyKey, deadline, signal: AbortSignal.any(signals) };
  }
}

function resultOf<T>(effect: TaskEffect<T>, row: EffectRow, cause?: unknown): T {
  if (row.state === "committed" || row.state === "failed") return row.result as T;
  throw new PawlError(
    "effect_unknown",
    `${effect.name} was sent before, and whether it happened is not known; it is not repeated`,
    { facts: { ...unknownEffect(effect.key, row) }, cause },
  );
}

/** Milliseconds since now, by the clock that counts more of them: one stands still while the machine sleeps, the other may be set. */
function stopwatch(): () => number {
  const [monotonic, wall] = [performance.now(), Date.now()];
  return () => Math.max(performance.now() - monotonic, Date.now() - wall);
}
