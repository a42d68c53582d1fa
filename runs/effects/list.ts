/** Effects of all threads, for the people who have to find out what became of them. */
import { z } from "zod";
import type { Queryable } from "../../db/pool.ts";
import type { EffectDecision } from "../../lib/effect.ts";
import { PawlError } from "../../lib/errors.ts";
import type { Principal } from "../../lib/principal.ts";
import { deadline, idempotencyKey } from "./stored-effect.ts";

/** As in the ledger, but that `unknown` ones which a person has decided to leave so are `abandoned`. */
const ListedState = z.enum(["reserved", "dispatched", "unknown", "abandoned", "committed", "failed"]);
type ListedState = z.infer<typeof ListedState>;

export const EffectSearch = z.object({
  state: ListedState.default("unknown"),
  limit: z.number().int().min(1).max(1_000).default(100),
  /** `next` of the page before. */
  after: z.string().optional(),
});
export type EffectSearch = z.infer<typeof EffectSearch>;

interface ListedEffect {
  readonly thread_id: string;
  readonly key: string;
  /** The run that reserved it. */
  readonly run_id: string;
  /** The tool or node that does it. */
  readonly name: string;
  /** Null for those of processes before there were kinds. */
  readonly kind: "idempotent" | "irreversible" | null;
  readonly tool_call_id: string | null;
  /** SHA-256 of the call's arguments as canonical JSON; null for a node's own effect. */
  readonly args_digest: string | null;
  readonly idempotency_key: string;
  /** How often it was dispatched. */
  readonly attempt: number;
  /** Of the last dispatch; null before there is one. */
  readonly dispatched_at: Date | null;
  readonly deadline: Date | null;
  readonly settled_at: Date | null;
  /** Of the question about it that is open now, for a resume of its thread. */
  readonly interrupt_id: string | null;
  /** What people said about it, in order; those with a `refusal` did not count. */
  readonly answers: readonly {
    readonly decision: EffectDecision;
    readonly refusal: "unclear" | "too_early" | null;
    readonly attempt: number;
    readonly answered_by: string | null;
    readonly answered_at: string;
  }[];
}

export interface EffectPage {
  readonly effects: readonly ListedEffect[];
  /** For `after`; null on the last page. */
  readonly next: string | null;
}

/** The `kind` of a question about an effect, of `nodes/unknown-effect.ts`. */
export const EFFECT_QUESTION = "effect_unknown";

/** Effects `e`, each with the id of the open question about it, if there is one. Of questions that are sealed it sees what `storedState` leaves. */
const withQuestion = `
  effects e left join lateral (
    select q ->> 'id' as interrupt_id
      from threads t, jsonb_path_query(t.interrupts, '$.*[*]') q
     where t.thread_id = e.thread_id
       and q -> 'value' ->> 'kind' = '${EFFECT_QUESTION}'
       and q -> 'value' ->> 'idempotency_key' = ${idempotencyKey}
     limit 1) question on e.is_unknown`;

/** Left alone by the task that was asked. Another one, on a fork, asks again: then there is a question. */
const isLeftAlone = `
  (question.interrupt_id is null
   and exists (select from effect_answers a
                where a.thread_id = e.thread_id and a.key = e.key and a.attempt = e.attempt
                  and a.decision = 'abandon' and a.refusal is null))`;

/** For `from`: those that wait for a decision, of all tenants. */
export const openUnknown = `${withQuestion} where e.is_unknown and not ${isLeftAlone}`;

/** Written out, since a prepared statement uses the index of unknown ones only where it can see that it may. */
const condition = (state: ListedState): string => {
  if (state === "unknown") return `e.is_unknown and not ${isLeftAlone}`;
  if (state === "abandoned") return `e.is_unknown and ${isLeftAlone}`;
  return `e.state = '${state}'`;
};

/** In the order of their threads' ids, which is that of their creation. Throws `invalid_input` for a cursor that is none. */
export async function listEffects(
  db: Queryable,
  { tenant }: Principal,
  { state, limit, after }: EffectSearch,
): Promise<EffectPage> {
  const { rows } = await db.query<ListedEffect>({
    name: `list-${state}-effects`,
    text: `
      select e.thread_id, e.key, e.run_id, e.name, e.kind, e.tool_call_id,
             substring(e.key from ':([0-9a-f]{64})$') as args_digest, ${idempotencyKey} as idempotency_key,
             e.attempt, e.dispatched_at, ${deadline} as deadline, e.settled_at, question.interrupt_id,
             (select coalesce(json_agg(json_build_object('decision', a.decision, 'refusal', a.refusal, 'attempt', a.attempt,
                                                         'answered_by', a.answered_by, 'answered_at', a.answered_at)
                                       order by a.answered_at), '[]')
                from effect_answers a
               where a.thread_id = e.thread_id and a.key = e.key) as answers
        from ${withQuestion}
       where e.tenant = $1 and ${condition(state)}
         and ($2::uuid is null or (e.thread_id, e.key) > ($2, $3))
       order by e.thread_id, e.key
       limit $4`,
    values: [tenant, ...positionOf(after), limit + 1],
  });
  const effects = rows.slice(0, limit);
  const last = rows.length > limit ? effects.at(-1) : undefined;
  return { effects, next: last ? cursorOf(last) : null };
}

const Position = z.tuple([z.uuid(), z.string().refine((key) => !key.includes("\0"))]);

function cursorOf({ thread_id, key }: ListedEffect): string {
  return Buffer.from(JSON.stringify([thread_id, key])).toString("base64url");
}

function positionOf(cursor: string | undefined): readonly [string | null, string | null] {
  if (cursor === undefined) return [null, null];
  try {
    return Position.parse(JSON.parse(Buffer.from(cursor, "base64url").toString()));
  } catch (cause) {
    throw new PawlError("invalid_input", "`after` is no `next` of an earlier page", { cause });
  }
}
