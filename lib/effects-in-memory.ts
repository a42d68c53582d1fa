/** The rows of a ledger that lives as long as its process: for graphs that run outside Pawl, and for tests. */
import { cameFrom, type EffectAnswer, type EffectState, type KnownEffect } from "./effect.ts";
import type { AnsweredEffect, EffectOutcome, EffectRows, TaskEffect } from "./effect-ledger.ts";
import { PawlError } from "./errors.ts";
import { type EffectRow, isAbandonment, type RecordedAnswer } from "./effect-row.ts";

interface Kept {
  state: EffectState;
  attempt: number;
  result?: unknown;
  taskId: string;
  toolCallId: string | undefined;
  dispatchedAt: number;
  deadline: number;
  readonly answers: Map<string, RecordedAnswer[]>;
}

export class EffectsInMemory implements EffectRows {
  readonly #threadId: string;
  readonly #rows = new Map<string, Kept>();

  constructor(threadId: string) {
    this.#threadId = threadId;
  }

  async reserve(effect: TaskEffect): Promise<EffectRow> {
    const { key, taskId, kind, toolCallId } = effect;
    const kept = this.#rows.get(key) ?? this.#fresh(key);
    const { state } = kept;
    const isFree =
      state === "reserved" ||
      (state === "failed" && (kept.result === undefined || kept.taskId !== taskId)) ||
      (kind === "idempotent" && state !== "committed" && state !== "failed");
    if (isFree) Object.assign(kept, { state: "reserved", result: undefined, taskId, toolCallId });
    return this.#row(key, kept, taskId);
  }

  async dispatch({ key, taskId }: TaskEffect, _row: EffectRow, withinMs: number): Promise<EffectRow> {
    const kept = this.#rows.get(key)!;
    const now = Date.now();
    Object.assign(kept, {
      state: "dispatched",
      attempt: kept.attempt + 1,
      dispatchedAt: now,
      deadline: now + withinMs,
    });
    return this.#row(key, kept, taskId);
  }

  async settle({ key }: TaskEffect, attempt: number, { state, result }: EffectOutcome): Promise<void> {
    const kept = this.#rows.get(key);
    if (kept?.attempt !== attempt || !cameFrom[state].includes(kept.state)) {
      throw new PawlError("lease_lost", "The effect was settled by another");
    }
    Object.assign(kept, { state, result });
  }

  async answer({ key, taskId, attempt, ordinal }: AnsweredEffect, answer: EffectAnswer): Promise<void> {
    const kept = this.#rows.get(key);
    const answers = kept?.answers.get(taskId) ?? [];
    if (kept?.state !== "unknown" || kept.attempt !== attempt || answers.length !== ordinal) return;
    const { decision, message = null, result } = answer;
    const isEarly = decision === "not_happened" && Date.now() <= kept.deadline;
    const refusal = decision === "unclear" ? "unclear" : isEarly ? "too_early" : null;
    kept.answers.set(taskId, [...answers, { attempt, decision, refusal, message }]);
    if (refusal !== null) return;
    if (decision === "happened") Object.assign(kept, { state: "committed", result: result ?? null });
    if (decision === "not_happened") kept.state = "reserved";
  }

  async known(toolCallIds: readonly string[]): Promise<KnownEffect[]> {
    return [...this.#rows.values()].flatMap(({ toolCallId, state, result }) =>
      toolCallId !== undefined && toolCallIds.includes(toolCallId) ? [{ toolCallId, state, result }] : [],
    );
  }

  #fresh(key: string): Kept {
    const kept: Kept = {
      state: "reserved",
      attempt: 0,
      taskId: "",
      toolCallId: undefined,
      dispatchedAt: 0,
      deadline: 0,
      answers: new Map(),
    };
    this.#rows.set(key, kept);
    return kept;
  }

  #row(key: string, { state, attempt, result, dispatchedAt, deadline, answers }: Kept, taskId: string): EffectRow {
    const ofTask = answers.get(taskId) ?? [];
    return {
      state,
      attempt,
      result,
      idempotencyKey: `${this.#threadId}:${key}`,
      dispatchedAt: new Date(dispatchedAt),
      deadline: new Date(deadline),
      msToDeadline: deadline - Date.now(),
      answers: ofTask,
      isAbandoned: ofTask.some((answer) => isAbandonment(answer, attempt)),
    };
  }
}
