/**
 * What a thread's row says about its newest state. One function for the end of a run, a state edit and a copy, so that
 * `status` and `interrupts` mean the same whoever wrote them.
 */
import type { PendingQuestion } from "../../checkpoints/questions.ts";
import { toWire } from "../../lib/wire.ts";
import { interruptOf } from "../stream/interrupts.ts";
import type { ThreadInterrupts } from "./thread.ts";

interface ProjectedState {
  readonly values: unknown;
  /** Nodes that would execute next. */
  readonly next: readonly string[];
}

type ProjectedQuestion = Pick<PendingQuestion, "task_id" | "interrupt_id" | "value" | "response_schema">;

/** Plain JSON. */
export interface ThreadProjection {
  /** Of a thread on which nothing is live. */
  readonly status: "idle" | "interrupted";
  readonly values: unknown;
  readonly interrupts: ThreadInterrupts;
}

/** `questions` are those that are really pending: the snapshot's own list still holds those of answered tasks. */
export function threadProjection(state: ProjectedState, questions: readonly ProjectedQuestion[]): ThreadProjection {
  const interrupts: ThreadInterrupts = {};
  for (const question of questions) (interrupts[question.task_id] ??= []).push(interruptOf(question));
  // `next` leaves out a task that has got an answer and asks again.
  const isWaiting = state.next.length > 0 || questions.length > 0;
  return { status: isWaiting ? "interrupted" : "idle", values: toWire(state.values), interrupts };
}
