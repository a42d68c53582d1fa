/**
 * What a thread's row says about its newest state. One function for the end of a run, a state edit and a copy, so that
 * `status` and `interrupts` mean the same whoever wrote them.
 */
import type { ThreadInterrupts } from "./thread.ts";

export interface ProjectedState {
  /** Plain JSON. */
  readonly values: unknown;
  /** Nodes that would execute next. */
  readonly next: readonly string[];
}

/** A question that is really pending: the snapshot's own list still holds those of answered tasks. */
export interface ProjectedQuestion {
  readonly task_id: string;
  /** As clients see it. */
  readonly interrupt_id: string;
  /** Plain JSON. */
  readonly value: unknown;
}

export interface ThreadProjection {
  /** Of a thread on which nothing is live. */
  readonly status: "idle" | "interrupted";
  readonly values: unknown;
  readonly interrupts: ThreadInterrupts;
}

export function threadProjection(state: ProjectedState, questions: readonly ProjectedQuestion[]): ThreadProjection {
  const interrupts: ThreadInterrupts = {};
  for (const { task_id, interrupt_id, value } of questions) {
    (interrupts[task_id] ??= []).push({ id: interrupt_id, value });
  }
  return { status: state.next.length > 0 || questions.length > 0 ? "interrupted" : "idle", values: state.values, interrupts };
}
