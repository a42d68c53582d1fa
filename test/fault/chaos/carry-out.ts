/** Carries out a plan as its clients do: the first message, perhaps a second one or a cancel, and the answers to what is asked. */
import { randomUUID } from "node:crypto";
import type { OtherSide } from "./other-side.ts";
import { type Plan, STEPS } from "./plan.ts";
import { type Clients, findRun, type Post, runPost } from "./post.ts";
import { statusOf } from "./stubborn-client.ts";

export interface Carrying extends Clients {
  readonly otherSide: OtherSide;
}

/** More questions than any graph asks. */
const MAX_ROUNDS = 12;

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

/** Answers the first question that is pending; false when there is none. */
async function answerOne(carrying: Carrying, plan: Plan, { threadId, round }: { threadId: string; round: number }) {
  const state = await carrying.http.insist((client, signal) =>
    client.threads.getState(threadId, undefined, { signal }),
  );
  const [question] = state.tasks.flatMap(({ interrupts }) => interrupts as Question[]);
  if (!question) return false;
  const isDoubled = plan.answersTwice && "question" in (question.value as object);
  const sent = await Promise.all(
    [0, ...(isDoubled ? [1] : [])].map((nth) =>
      runPost(carrying, {
        ...firstPost(carrying, plan, threadId),
        name: `${plan.name}-answer-${round}-${nth}`,
        key: "none",
        following: nth === 0 ? plan.following : "poll",
        body: { command: { resume: { [String(question.id)]: answerTo(carrying, plan, question) } } },
        mayVanish: false,
      }),
    ),
  );
  if (sent.filter((run) => run !== undefined).length > 1) {
    carrying.journal.answeredTwice.push(`${plan.name}, round ${round}`);
  }
  return true;
}

function answerTo({ journal, otherSide }: Carrying, plan: Plan, { value }: Question): unknown {
  const { question } = value as { question?: string };
  if (question !== undefined) {
    const answer = randomUUID();
    journal.answered(`${plan.name}/${question}`, answer);
    return answer;
  }
  // An effect whose outcome nobody knows: the person who is asked looks at the other side.
  const text = JSON.stringify(value);
  const name = STEPS[plan.graph].map((step) => `${plan.name}/${step}`).find((each) => text.includes(each));
  if (name === undefined) throw new Error(`An unknown question: ${text}`);
  journal.askedAbout.add(name);
  return otherSide.done.has(name) ? { type: "happened", result: { receipt: name } } : { type: "not_happened" };
}
