/** The open questions of a thread, from its tables. */
import type { Queryable } from "../db/pool.ts";
import { openQuestions, type PendingQuestion } from "./open-questions.ts";
import type { ThreadCheckpoint } from "./read-waiting.ts";
import type { Saver } from "./saver.ts";

export type { PendingQuestion };

/** What the thread waits for at its newest checkpoint, or at the one named; empty if there is none. */
export async function pendingQuestions(saver: Saver, at: ThreadCheckpoint, db?: Queryable): Promise<PendingQuestion[]> {
  return openQuestions(await saver.waitingTasks(at, db));
}
