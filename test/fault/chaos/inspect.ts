/** The last look, when nothing moves any more: what Postgres holds, and what clients are told about each thread. */
import type pg from "pg";
import { inspectEffects } from "./inspect-effects.ts";
import { inspectLog } from "./inspect-log.ts";
import type { Journal } from "./journal.ts";
import type { OtherSide } from "./other-side.ts";
import { STEPS } from "./plan.ts";
import type { GraphId } from "./fleet.ts";
import { statusOf, type StubbornClient } from "./stubborn-client.ts";

export interface Findings {
  /** POSTs with a key that made more than one run. */
  readonly createdTwice: string[];
  /** The same without a key: a client that loses its answer may get a second run (docs/guarantees.md). */
  readonly repeated: string[];
  /** Accepted, and not over; or gone though nobody asked for that. */
  readonly lost: string[];
  /** Threads that are busy with nothing, runs that are never going to end, workers that are not there. */
  readonly stranded: string[];
  /** Steps that the state has twice, or not at all. */
  readonly wrongStates: string[];
  /** Runs that ended in an error, which no graph here asks for. */
  readonly failed: string[];
  /** Irreversible effects that the other side was asked for twice, idempotent ones under two keys, and those without a row. */
  readonly duplicated: string[];
  /** Irreversible effects whose outcome is on no record. */
  readonly ambiguous: string[];
  /** Of these, those that nobody was told of or asked about, and those that were told without being it. */
  readonly unreported: string[];
  /** Of the ambiguous ones, those whose run was cancelled: there is nobody to tell. */
  readonly ofCancelled: string[];
  /** Answers in a state that nobody gave. */
  readonly strayAnswers: string[];
  /** Effects that are told or recorded as something else than what the other side saw. */
  readonly miscounted: string[];
  /** What people said about an effect, and was taken for something else, believed too early or refused without need. */
  readonly wrongDecisions: string[];
  /** Event numbers that a reader got twice or out of order, or not at all. */
  readonly wrongEvents: string[];
  /** Gaps in the log. */
  readonly lostEvents: string[];
  /** What was written by an attempt after a later one had written. */
  readonly lateWrites: string[];
}

export interface Evidence {
  readonly db: pg.Pool;
  readonly http: StubbornClient;
  readonly journal: Journal;
  readonly otherSide: OtherSide;
  readonly graphOf: (plan: string) => GraphId;
}

export async function inspect(evidence: Evidence): Promise<Findings> {
  const findings: Findings = {
    createdTwice: [...evidence.journal.createdTwice],
    repeated: [],
    lost: [],
    stranded: [],
    wrongStates: [],
    failed: [],
    duplicated: [],
    ambiguous: [],
    unreported: [],
    ofCancelled: [],
    strayAnswers: [],
    miscounted: [],
    wrongDecisions: [],
    wrongEvents: [],
    lostEvents: [],
    lateWrites: [],
  };
  await inspectRuns(evidence, findings);
  const log = await inspectStates(evidence, findings);
  await inspectEffects(evidence, { findings, log });
  await inspectLog(evidence, findings);
  return findings;
}

async function inspectRuns({ db, journal }: Evidence, findings: Findings): Promise<void> {
  const { lost, stranded, failed } = findings;
  const { rows: several } = await db.query<{ post: string }>(
    "select metadata ->> 'post' as post from runs group by 1 having count(*) > 1",
  );
  const keyed = new Set(journal.accepted.filter(({ isKeyed }) => isKeyed).map((run) => run.post));
  for (const { post } of several) (keyed.has(post) ? findings.createdTwice : findings.repeated).push(post);
  // Sent again by the stock client after the first one was rolled back: its row is the only one.
  const { rows: made } = await db.query<{ run_id: string; post: string }>(
    "select run_id, metadata ->> 'post' as post from runs",
  );
  const accepted = new Set(journal.accepted.map(({ runId }) => runId));
  for (const { run_id, post } of made) {
    if (journal.mayBeGone.has(post) && !accepted.has(run_id) && !keyed.has(post)) findings.repeated.push(post);
  }
  // Made anew after the first one was rolled back: what keeps its key or id spent is there.
  const { rows: anew } = await db.query<{ post: string }>(
    `select metadata ->> 'post' as post
       from runs r join spent_keys s on s.run_id = r.run_id or (s.tenant, s.idempotency_key) = (r.tenant, r.idempotency_key)`,
  );
  findings.createdTwice.push(...anew.map(({ post }) => post));
  const { rows: alive } = await db.query<{ run_id: string; status: string; post: string }>(
    "select run_id, status, metadata ->> 'post' as post from runs where status in ('pending', 'running')",
  );
  for (const { run_id, status, post } of alive) {
    const isKnown = journal.accepted.some(({ runId }) => runId === run_id);
    (isKnown ? lost : stranded).push(`${post}: ${status} for ever (${run_id})`);
  }
  const { rows: errors } = await db.query<{ post: string; error: unknown }>(
    "select metadata ->> 'post' as post, error from runs where status in ('error', 'timeout')",
  );
  for (const { post, error } of errors) failed.push(`${post}: ${JSON.stringify(error)}`);
  const { rows: threads } = await db.query<{ thread_id: string; status: string }>(
    `select thread_id, status from threads t
      where (status = 'busy') <> exists (select from runs r where r.thread_id = t.thread_id and r.status in ('pending', 'running'))`,
  );
  for (const { thread_id, status } of threads)
    stranded.push(`thread ${thread_id} is ${status}, and its runs say otherwise`);
  const { rows: workers } = await db.query<{ worker_id: string }>(
    "select worker_id from workers where lease_until < now()",
  );
  for (const { worker_id } of workers) stranded.push(`worker ${worker_id} is over and was not forgotten`);
  for (const { post, plan, status } of journal.accepted) {
    if (status === "gone" && !journal.mayBeGone.has(plan)) lost.push(`${post}: its run is gone`);
  }
}

/** Compares each plan's entries in the state of its thread with the steps of its graph. Returns all entries. */
async function inspectStates({ http, journal, graphOf }: Evidence, findings: Findings): Promise<Set<string>> {
  const all = new Set<string>();
  const entries = new Map<string, string[]>();
  for (const threadId of new Set(journal.accepted.map((run) => run.threadId))) {
    const state = await http
      .insist((client) => client.threads.getState<{ log?: string[] }>(threadId))
      .catch((error: unknown) => {
        if (statusOf(error) !== 404) throw error;
        findings.lost.push(`thread ${threadId} is gone`);
        return undefined;
      });
    for (const entry of state?.values.log ?? []) {
      all.add(entry);
      const plan = entry.slice(0, entry.indexOf("/"));
      entries.set(plan, [...(entries.get(plan) ?? []), entry.slice(plan.length + 1)]);
    }
  }
  for (const plan of new Set(journal.accepted.map((run) => run.plan))) {
    inspectPlan({ plan, graph: graphOf(plan), entries: entries.get(plan) ?? [] }, { journal, findings });
  }
  return all;
}

interface PlanEntries {
  readonly plan: string;
  readonly graph: GraphId;
  readonly entries: readonly string[];
}

function inspectPlan(
  { plan, graph, entries }: PlanEntries,
  { journal, findings }: { journal: Journal; findings: Findings },
) {
  const runs = journal.accepted.filter((run) => run.plan === plan);
  const isWhole = runs.every(({ status }) => status === "success") && !journal.givenUp.includes(plan);
  const isGone = runs.every(({ status }) => status === "gone");
  const taken = entries.map((entry) => entry.replace(/[:=].*$/, ""));
  const statuses = runs.map(({ status }) => status).join(", ");
  const wrong = (what: string) =>
    findings.wrongStates.push(`${plan} (${graph}; ${statuses}): ${what} [${entries.join(" ")}]`);
  for (const step of STEPS[graph]) {
    const times = taken.filter((each) => each === step).length;
    if (times > 1 && !findings.repeated.includes(plan)) wrong(`${step} was taken ${times} times`);
    if (times === 0 && isWhole) wrong(`${step} was lost`);
  }
  if (isGone && taken.length > 0 && !findings.repeated.includes(plan))
    wrong("a run that was rolled back has left traces");
  for (const entry of entries.filter((each) => each.includes("="))) {
    const [question = "", answer = ""] = entry.split("=");
    if (!journal.answers.get(`${plan}/${question}`)?.has(answer)) findings.strayAnswers.push(`${plan}/${entry}`);
  }
}
