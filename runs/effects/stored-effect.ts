/** How a row of `effects` is read: its columns, what rows of older processes lack, and the answers of people about it. */
import type { Encryption } from "../../checkpoints/encryption.ts";
import type { EffectState } from "../../lib/effect.ts";
import { type EffectRow, isAbandonment, type RecordedAnswer } from "../../lib/effect-row.ts";
import { readMessage, readResult } from "./sealed-results.ts";

export interface StoredEffect {
  readonly key: string;
  readonly state: EffectState;
  readonly attempt: number;
  readonly result: string | null;
  readonly idempotency_key: string;
  readonly dispatched_at: Date | null;
  readonly deadline: Date | null;
  readonly ms_to_deadline: number | null;
  readonly answers: readonly (RecordedAnswer & { readonly ordinal: number; readonly sealed: string | null })[];
}

/** Rows of older processes have no deadline: their effects take seconds, so after this long none is under way. */
export const deadline = "coalesce(e.deadline, e.dispatched_at + interval '10 minutes')";

/** The key that the other side was told; rows of older processes have none of their own. */
export const idempotencyKey = "coalesce(e.idempotency_key, e.thread_id || ':' || e.key)";

/** The select list of `StoredEffect`, for a row `e` of the effects with the thread in $1, the key in $3 and the task in $4. */
export const effectColumns = `
  e.key, e.state, e.attempt, e.result, ${idempotencyKey} as idempotency_key,
  e.dispatched_at, ${deadline} as deadline,
  (extract(epoch from ${deadline} - clock_timestamp()) * 1000)::float8 as ms_to_deadline,
  (select coalesce(json_agg(json_build_object('attempt', a.attempt, 'decision', a.decision, 'refusal', a.refusal, 'ordinal', a.ordinal,
                                              'message', a.message, 'sealed', encode(a.sealed, 'hex')) order by a.ordinal), '[]')
     from effect_answers a
    where a.thread_id = $1 and a.key = $3 and a.task_id = $4) as answers`;

interface Reader {
  readonly encryption: Encryption | undefined;
  readonly thread_id: string;
}

/** As the task `taskId` sees it. Throws `checkpoint_unreadable`. */
export function openEffect(reader: Reader, taskId: string, row: StoredEffect): EffectRow {
  const never = new Date(0);
  const answers = row.answers.map((stored): RecordedAnswer => {
    const { attempt, decision, refusal, ordinal } = stored;
    const place = { thread_id: reader.thread_id, key: row.key, attempt, task_id: taskId, ordinal, decision };
    return { attempt, decision, refusal, message: readMessage(reader.encryption, place, stored) };
  });
  return {
    state: row.state,
    attempt: row.attempt,
    result: openResult(reader, row),
    idempotencyKey: row.idempotency_key,
    dispatchedAt: row.dispatched_at ?? never,
    deadline: row.deadline ?? never,
    msToDeadline: row.ms_to_deadline ?? 0,
    answers,
    isAbandoned: answers.some((answer) => isAbandonment(answer, row.attempt)),
  };
}

/** Undefined for an effect without a result. Throws `checkpoint_unreadable`. */
export function openResult(
  { encryption, thread_id }: Reader,
  { key, attempt, result }: Pick<StoredEffect, "key" | "attempt" | "result">,
): unknown {
  return result === null ? undefined : readResult(encryption, { thread_id, key, attempt }, result);
}
