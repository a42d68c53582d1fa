/** A row of the ledger, as a task reads it, and what it says about an unknown outcome. */
import type { EffectDecision, EffectState, UnknownEffect } from "./effect.ts";

export interface EffectRow {
  readonly state: EffectState;
  /** How often it was dispatched. */
  readonly attempt: number;
  readonly result: unknown;
  readonly idempotencyKey: string;
  /** Of the last dispatch; meaningless while it is `reserved`. */
  readonly dispatchedAt: Date;
  readonly deadline: Date;
  /** By the clock of the rows; negative once it has passed. */
  readonly msToDeadline: number;
  /** Those of this task, in order. */
  readonly answers: readonly RecordedAnswer[];
  /** This task was told to leave this attempt alone. */
  readonly isAbandoned: boolean;
}

export interface RecordedAnswer {
  readonly attempt: number;
  readonly decision: EffectDecision;
  readonly refusal: "unclear" | "too_early" | null;
  readonly message: string | null;
}

/** Whether an answer to this attempt ended the matter for its task. */
export function isAbandonment(answer: RecordedAnswer, attempt: number): boolean {
  return answer.attempt === attempt && answer.decision === "abandon" && answer.refusal === null;
}

/** A pure function of what the ledger keeps for good: the question made of it is the same however often it is asked. */
export function unknownEffect(key: string, row: EffectRow): UnknownEffect {
  const { attempt, answers } = row;
  const abandonment = answers.find((answer) => isAbandonment(answer, attempt));
  const last = answers.at(-1);
  const refusal = last?.attempt === attempt ? refusalOf(last, row) : undefined;
  return {
    key,
    idempotency_key: row.idempotencyKey,
    attempt,
    dispatched_at: row.dispatchedAt.toISOString(),
    deadline: row.deadline.toISOString(),
    answers: answers.length,
    unclear: answers.filter((answer) => answer.attempt === attempt && answer.refusal === "unclear").length,
    ...(refusal !== undefined && { refusal }),
    ...(abandonment && { abandoned: abandonment.message === null ? {} : { message: abandonment.message } }),
  };
}

function refusalOf({ refusal, message }: RecordedAnswer, { deadline }: EffectRow): string | undefined {
  if (refusal === null) return undefined;
  if (refusal === "unclear") return message ?? "The answer could not be read.";
  return `It is too early to say that it did not happen: until ${deadline.toISOString()} it may still be sent. Look again after that.`;
}
