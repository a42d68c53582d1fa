/** What a thread is: one definition, from which the type, the API shape and the row check all follow. */
import { z } from "zod";
import { ThreadId } from "../../lib/ids.ts";
import { RunError } from "../run.ts";

export const ThreadStatus = z.enum(["idle", "busy", "interrupted", "error"]);
export type ThreadStatus = z.infer<typeof ThreadStatus>;

/** A JSON object. */
export const Json = z.record(z.string(), z.unknown());
export type Json = z.infer<typeof Json>;

const Interrupt = z.object({ id: z.string(), value: z.unknown(), response_schema: z.unknown().optional() });

/** The pending questions of each task that has some. */
export const ThreadInterrupts = z.record(z.string(), z.array(Interrupt));
export type ThreadInterrupts = z.infer<typeof ThreadInterrupts>;

/** A thread as clients see it. */
export const Thread = z.object({
  thread_id: ThreadId,
  created_at: z.date(),
  updated_at: z.date(),
  /** When `values` last changed; `updated_at` moves with the metadata and the status too. */
  state_updated_at: z.date(),
  metadata: Json,
  status: ThreadStatus,
  /** Merged from its runs, so that a graph built by a factory can be built again to read the state. */
  config: Json,
  /** Of the newest checkpoint; null until there is one. */
  values: z.unknown(),
  interrupts: ThreadInterrupts,
  /** Of the last run, if `status` is `error`. */
  error: z.unknown(),
});
export type Thread = z.infer<typeof Thread>;

/** A thread in a list: the fields that were asked for. `unreadable` says why it lacks some of them. */
export const ListedThread = Thread.partial().extend({ unreadable: RunError.optional() });
export type ListedThread = z.infer<typeof ListedThread>;

export const threadFields = Object.keys(Thread.shape) as (keyof Thread)[];

/** The columns of `Thread`, for a select list. */
export const threadColumns = columnsOf(threadFields);

/** `values` is a keyword of SQL. */
export function columnsOf(fields: readonly (keyof Thread)[]): string {
  return fields.map((field) => `"${field}"`).join(", ");
}
