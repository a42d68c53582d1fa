/**
 * Which question each answer of a resume is for. The library would answer every pending question with a bare value,
 * take `{}` for an answer and ignore unknown ids; here an answer fits exactly one pending question or is refused.
 */
import { PawlError } from "../lib/errors.ts";
import type { RunKwargs } from "./run.ts";

/** What a resume needs to know of a pending question. */
export interface OpenQuestion {
  /** As clients see it: differs for questions that one task asks one after the other. */
  readonly interrupt_id: string;
  /** As the library knows it. */
  readonly task_interrupt_id: string;
  /** How many answers the task had before this question. */
  readonly ordinal: number;
}

export type Answers = NonNullable<RunKwargs["answers"]>;

/** Shape of interrupt ids: an object with a key that looks like this is a map of answers, never an answer itself. */
const INTERRUPT_ID = /^[0-9a-f]{32}$/i;

/**
 * Throws `nothing_to_resume` (nothing is pending), `ambiguous_resume` (a bare value, several pending),
 * `unknown_interrupt` (an id that is not pending, or is no more), `invalid_input` (an empty map).
 */
export function matchAnswers(resume: unknown, pending: readonly OpenQuestion[]): Answers {
  const ids = pending.map((question) => question.interrupt_id);
  const map = answerMap(resume);
  if (map) {
    const entries = Object.entries(map);
    if (entries.length === 0)
      throw new PawlError("invalid_input", "The map of answers is empty", { facts: { pending: ids } });
    return entries.map(([id, value]) => answer(findQuestion(id, pending), value));
  }
  const [only, ...others] = pending;
  if (!only) throw new PawlError("nothing_to_resume", "The thread is not waiting for an answer");
  if (others.length > 0) {
    throw new PawlError("ambiguous_resume", "Several questions are pending: send {interrupt_id: answer}", {
      facts: { pending: ids },
    });
  }
  return [answer(only, resume)];
}

function findQuestion(id: string, pending: readonly OpenQuestion[]): OpenQuestion {
  const question = pending.find((candidate) => candidate.interrupt_id === id);
  if (question) return question;
  throw new PawlError(
    "unknown_interrupt",
    `No pending question has the id ${id}: it was answered already, or never asked`,
    {
      facts: { interrupt_id: id, pending: pending.map((candidate) => candidate.interrupt_id) },
    },
  );
}

/** An empty object is an empty map. Also a map: one stale id among other keys, which must not answer another question. */
function answerMap(resume: unknown): Record<string, unknown> | undefined {
  if (typeof resume !== "object" || resume === null || Array.isArray(resume)) return undefined;
  const keys = Object.keys(resume);
  if (keys.length > 0 && !keys.some((key) => INTERRUPT_ID.test(key))) return undefined;
  return Object.fromEntries(Object.entries(resume).map(([key, value]) => [key.toLowerCase(), value]));
}

function answer({ interrupt_id, task_interrupt_id, ordinal }: OpenQuestion, value: unknown): Answers[number] {
  return { interrupt_id, task_interrupt_id, ordinal, value };
}

/**
 * The part of `answers` that still has to be given: after a crash some may be recorded already, and giving one again
 * would answer the next question of the same task.
 */
export function openAnswers(answers: Answers, pending: readonly OpenQuestion[]): Answers {
  return answers.filter(({ interrupt_id }) => pending.some((question) => question.interrupt_id === interrupt_id));
}
