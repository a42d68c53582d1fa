/** Interrupts in what a graph streams, with public ids and without those that were answered. */
import type { QuestionTracker } from "../../checkpoints/question-tracker.ts";
import { toWire } from "../../lib/wire.ts";
import { isRecord } from "./checkpoint-ref.ts";

/** An interrupt as clients see it. */
export interface Interrupt {
  readonly id: string;
  readonly value: unknown;
  readonly response_schema?: unknown;
}

interface Question {
  readonly interrupt_id: string;
  readonly value: unknown;
  readonly response_schema?: unknown;
}

export function interruptOf({ interrupt_id, value, response_schema }: Question): Interrupt {
  return {
    id: interrupt_id,
    value: toWire(value) ?? null,
    ...(response_schema !== undefined && { response_schema: toWire(response_schema) }),
  };
}

/** The questions behind a list of interrupts that the graph of namespace `ns` shows. Anything else stays as it is. */
export function publicInterrupts(interrupts: unknown, ns: string, tracker: QuestionTracker): unknown {
  if (!Array.isArray(interrupts)) return interrupts;
  const shown = interrupts.flatMap((interrupt): unknown[] => {
    if (!isRecord(interrupt) || typeof interrupt["id"] !== "string") return [interrupt];
    return tracker.behind(ns, interrupt["id"])?.map(interruptOf) ?? [interrupt];
  });
  return [
    ...new Map(shown.map((interrupt) => [isRecord(interrupt) ? interrupt["id"] : interrupt, interrupt])).values(),
  ];
}

/** A stream chunk with its `__interrupt__`, if it has one, made public. */
export function withPublicInterrupts(chunk: unknown, ns: string, tracker: QuestionTracker): unknown {
  if (!isRecord(chunk) || !("__interrupt__" in chunk)) return chunk;
  return { ...chunk, __interrupt__: publicInterrupts(chunk["__interrupt__"], ns, tracker) };
}

/** Whether a chunk of any mode shows a question. */
export function hasInterrupts(chunk: unknown): boolean {
  if (!isRecord(chunk)) return false;
  const { __interrupt__, interrupts, payload } = chunk;
  return [__interrupt__, interrupts].some((list) => Array.isArray(list) && list.length > 0) || hasInterrupts(payload);
}

/** The same at any depth of a plain JSON value, for chunks that do not say which graph they are from. */
export function withPublicIds(value: unknown, tracker: QuestionTracker): unknown {
  if (Array.isArray(value)) return value.map((item) => withPublicIds(item, tracker));
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      key === "__interrupt__" && Array.isArray(item)
        ? item.map((interrupt: unknown) =>
            isRecord(interrupt) && typeof interrupt["id"] === "string"
              ? { ...interrupt, id: tracker.publicId(interrupt["id"]) }
              : interrupt,
          )
        : withPublicIds(item, tracker),
    ]),
  );
}
