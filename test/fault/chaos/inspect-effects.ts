/** What the other side was asked to do, against what the ledger, the states and the people say. */
import type { Decision } from "./journal.ts";
import type { OtherSide } from "./other-side.ts";
import type { Evidence, Findings } from "./inspect.ts";

interface Row {
  /** The effect's name on the other side: `<plan>/<step>`. */
  readonly effect: string;
  readonly state: string;
  readonly kind: string;
}

export async function inspectEffects(
  evidence: Evidence,
  { findings, log }: { findings: Findings; log: ReadonlySet<string> },
): Promise<void> {
  const { rows } = await evidence.db.query<Row>(
    // The key of a tool call is the call's id and a digest.
    "select coalesce(tool_call_id, key) as effect, state, kind from effects",
  );
  const misled = await inspectDecisions(evidence, findings);
  inspectOtherSide(evidence.otherSide, { rows, misled, findings });
  for (const row of rows) inspectRow(evidence, row, { findings, log });
}

/** Compares what was done with the rows that allowed it. */
function inspectOtherSide(
  { done }: OtherSide,
  { rows, misled, findings }: { rows: readonly Row[]; misled: ReadonlySet<string>; findings: Findings },
): void {
  const known = new Set(rows.map(({ effect }) => effect));
  for (const [name, { kind, keys }] of done) {
    const times = [...keys.values()].reduce((sum, n) => sum + n, 0);
    if (kind === "irreversible" && times > 1 && !misled.has(name)) findings.duplicated.push(`${name}: ${times} times`);
    if (kind === "idempotent" && keys.size > 1) findings.duplicated.push(`${name}: under ${keys.size} keys`);
    if (!known.has(name)) findings.duplicated.push(`${name}: without a row`);
  }
}

function inspectRow(
  { journal, otherSide }: Evidence,
  { effect, state, kind }: Row,
  { findings, log }: { findings: Findings; log: ReadonlySet<string> },
): void {
  const { ambiguous, unreported, ofCancelled, miscounted } = findings;
  const isAsked = journal.decisions.some((decision) => decision.effect === effect);
  const isDone = otherSide.done.has(effect);
  if (kind === "irreversible" && (state === "dispatched" || state === "unknown")) {
    ambiguous.push(effect);
    const isOver = journal.accepted.some(({ plan, status }) => status === "success" && effect.startsWith(`${plan}/`));
    if (!log.has(`${effect}:unknown`) && !isAsked) (isOver ? unreported : ofCancelled).push(`${effect}: ${state}`);
  } else if (log.has(`${effect}:unknown`)) {
    unreported.push(`${effect}: shown as unknown, and ${state}`);
  }
  if (log.has(`${effect}:done`) && !isDone) miscounted.push(`${effect}: shown as done, and it was not`);
  if (state === "committed" && !isDone) miscounted.push(`${effect}: recorded as done, and it was not`);
  if (state === "reserved" && isDone) miscounted.push(`${effect}: recorded as not sent, and it was`);
  const isLeft = journal.decisions.some(({ effect: about, said }) => about === effect && said === "abandon");
  if (log.has(`${effect}:left`) && !isLeft) miscounted.push(`${effect}: left alone, and nobody said so`);
}

/** An answer as the ledger recorded it. */
interface Answer {
  readonly post: string;
  readonly effect: string;
  readonly decision: string;
  readonly refusal: string | null;
  /** When its run was created. */
  readonly posted: Date;
}

/**
 * Whoever looked before the deadline may be believed only if the answer was posted after it: then the person was
 * wrong, and the effect may be there twice. Returns the effects of which that is so.
 */
async function inspectDecisions({ db, journal }: Evidence, { wrongDecisions }: Findings): Promise<Set<string>> {
  const { rows } = await db.query<Answer>(
    `select r.metadata ->> 'post' as post, coalesce(e.tool_call_id, e.key) as effect, a.decision, a.refusal, r.created_at as posted
       from effect_answers a join effects e using (thread_id, key) join runs r on r.run_id = a.run_id`,
  );
  const misled = new Set<string>();
  for (const row of rows) {
    const { post, effect, refusal } = row;
    const sent = journal.decisions.find((each) => each.post === post && each.effect === effect);
    const objection = objectionTo(row, sent);
    if (objection !== undefined) wrongDecisions.push(`${effect}, ${post}: ${objection}`);
    else if (sent?.isEarly && refusal === null) misled.add(effect);
  }
  return misled;
}

function objectionTo({ decision, refusal, posted }: Answer, sent: Decision | undefined): string | undefined {
  if (!sent) return `${decision}, and nobody said so`;
  if (sent.said !== decision) return `${decision}, and ${sent.said} was said`;
  // In the same millisecond it may be either: the database counts more exactly.
  const msPast = posted.getTime() - sent.deadline.getTime();
  if (refusal === null && sent.said === "not_happened" && msPast < 0) return "believed before the deadline";
  if (refusal !== null && (sent.said !== "not_happened" || msPast > 0)) return `refused as ${refusal}`;
  return undefined;
}
