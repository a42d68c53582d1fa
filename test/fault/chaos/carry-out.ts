/** Carries out a plan as its clients do: the first message, perhaps a second one or a cancel, and the answers to what is asked. */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import type { Decision } from "./journal.ts";
import type { OtherSide } from "./other-side.ts";
import type { Plan } from "./plan.ts";
import { type Clients, findRun, type Post, runPost } from "./post.ts";
import { statusOf } from "./stubborn-client.ts";

export interface Carrying extends Clients {
  readonly otherSide: OtherSide;
}

/** More questions than any graph asks, about effects too. */
const MAX_ROUNDS = 30;

export async function carryOut(carrying: Carrying, plan: Plan, threadId: string): Promise<void> {
  const { http } = carrying;
  await http.insist((client) => client.threads.create({ threadId, ifExists: "do_nothing" }));
  const first = firstPost(carrying, plan, threadId);
  if (first.mayVanish) carrying.journal.mayBeGone.add(plan.name);
  await Promise.all([
    runPost(carrying, first),
    plan.cancel && cancelSoon(carrying, first, plan.cancel),
    plan.doubleText && textAgain(carrying, first, plan.doubleText),
  ]);
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    if (!(await answerOne(carrying, plan, { threadId, round }))) return;
  }
  carrying.journal.oddities.push(`${plan.name}: asked again and again`);
}

function firstPost({ otherSide }: Carrying, plan: Plan, threadId: string): Post {
  return {
    name: plan.name,
    plan: plan.name,
    threadId,
    graph: plan.graph,
    following: plan.following,
    key: plan.key,
    body: { input: { plan: plan.name, ms: plan.ms, side: otherSide.url } },
    mayVanish: plan.cancel?.action === "rollback" || plan.doubleText?.strategy === "rollback",
  };
}

async function textAgain(carrying: Carrying, first: Post, { afterMs, strategy }: NonNullable<Plan["doubleText"]>) {
  const name = `${first.name}-second`;
  await waitForRun(carrying, first);
  await carrying.http.pause(afterMs);
  await runPost(carrying, {
    ...first,
    name,
    plan: name,
    following: "poll",
    body: { input: { ...first.body.input, plan: name }, multitaskStrategy: strategy },
    mayVanish: false,
  });
}

async function cancelSoon(carrying: Carrying, first: Post, { afterMs, action }: NonNullable<Plan["cancel"]>) {
  const runId = await waitForRun(carrying, first);
  if (runId === undefined) return;
  await carrying.http.pause(afterMs);
  await carrying.http
    .insist((client, signal) => client.runs.cancel(first.threadId, runId, false, action, { signal }))
    .catch((error: unknown) => {
      if (statusOf(error) !== 404 && statusOf(error) !== 409) throw error;
    });
}

const LOOK_MS = 50;
const LOOKS = 100;

/** The run of a POST that somebody else is sending; undefined when it does not show. */
async function waitForRun(carrying: Carrying, post: Post): Promise<string | undefined> {
  for (let looks = 0; looks < LOOKS; looks += 1) {
    const runId = await findRun(carrying, post);
    if (runId !== undefined) return runId;
    await carrying.http.pause(LOOK_MS);
  }
  return undefined;
}

interface Question {
  readonly id?: string;
  readonly value?: unknown;
}

const AskedAboutEffect = z.object({
  kind: z.literal("effect_unknown"),
  tool_call_id: z.string(),
  deadline: z.coerce.date(),
});
const Asked = z.union([AskedAboutEffect, z.object({ question: z.string() })]);

/** Answers the first question that is pending; false when there is none. */
async function answerOne(carrying: Carrying, plan: Plan, { threadId, round }: { threadId: string; round: number }) {
  const state = await carrying.http.insist((client, signal) =>
    client.threads.getState(threadId, undefined, { signal }),
  );
  const [question] = state.tasks.flatMap(({ interrupts }) => interrupts as Question[]);
  if (!question) return false;
  const value = Asked.parse(question.value);
  const about = "kind" in value ? await decide(carrying, plan, value) : undefined;
  const sent = await Promise.all(
    [0, ...(plan.answersTwice ? [1] : [])].map((nth) => {
      const name = `${plan.name}-answer-${round}-${nth}`;
      if (about) carrying.journal.decisions.push({ ...about, post: name });
      const answer = "kind" in value ? wordsFor(about!) : answerTo(carrying, plan, value);
      return runPost(carrying, {
        ...firstPost(carrying, plan, threadId),
        name,
        key: "none",
        following: nth === 0 ? plan.following : "poll",
        body: { command: { resume: { [String(question.id)]: answer } } },
        mayVanish: false,
      });
    }),
  );
  if (sent.filter((run) => run !== undefined).length > 1) {
    carrying.journal.answeredTwice.push(`${plan.name}, round ${round}`);
  }
  return true;
}

function answerTo({ journal }: Carrying, plan: Plan, { question }: { question: string }): string {
  const answer = randomUUID();
  journal.answered(`${plan.name}/${question}`, answer);
  return answer;
}

/** So long before its deadline nobody's answer is surely too early when it comes. */
const HASTE_MS = 200;

/** Looks at the other side, as whoever is asked about an effect does; whose answer it is depends on the plan. */
async function decide(
  { http, otherSide }: Carrying,
  { person }: Plan,
  { tool_call_id, deadline }: z.output<typeof AskedAboutEffect>,
): Promise<Omit<Decision, "post">> {
  const about = { effect: tool_call_id, deadline };
  if (otherSide.done.has(tool_call_id)) return { ...about, said: "happened", isEarly: false };
  const msLeft = deadline.getTime() - Date.now();
  if (person === "tired") return { ...about, said: "abandon", isEarly: false };
  if (person === "hasty" && msLeft > HASTE_MS) {
    // Each time less early: a server that asks again at once is not asked for ever.
    await http.pause(msLeft / 4);
    return { ...about, said: "not_happened", isEarly: true };
  }
  await http.pause(Math.max(0, msLeft) + 1);
  return { ...about, said: otherSide.done.has(tool_call_id) ? "happened" : "not_happened", isEarly: false };
}

function wordsFor({ said, effect }: Omit<Decision, "post">) {
  return said === "happened" ? { type: said, result: { receipt: effect } } : { type: said };
}
