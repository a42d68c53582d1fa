/** What a tool returned, as it goes to the model and into the database: JSON, plain text, of bounded size. */
import type { UnknownEffect } from "../lib/effect.ts";
import { headAndTail, plainText } from "./sandbox/output.ts";
import type { ToolErrorCode } from "./tool.ts";

export type ToolOutcome = ToolSuccess | ToolError;

type ToolSuccess = {
  readonly status: "ok";
  readonly result: unknown;
  /** When nobody but a person says that it happened. */
  readonly reported_by?: "reviewer";
};

type ToolError = {
  readonly status: "error";
  readonly code: ToolErrorCode;
  readonly message: string;
  /** With EFFECT_UNKNOWN, while a person may still say what happened (`host.answerEffect`). */
  readonly effect?: UnknownEffect;
};

const maxResultBytes = 100_000;
const maxMessageBytes = 2_000;

/** A result that is too large keeps its beginning and its end, as text: half of an object is no object. */
export function succeeded(result: unknown): ToolSuccess {
  const json = JSON.stringify(plain(result)) ?? "null";
  if (Buffer.byteLength(json) <= maxResultBytes) return { status: "ok", result: JSON.parse(json) as unknown };
  const text = typeof result === "string" ? plainText(result) : json;
  return { status: "ok", result: { truncated: true, text: headAndTail(text, maxResultBytes) } };
}

/** What a person reports as the result of a call that was sent: the model is told whose word it is. */
export function reported(result: unknown): ToolSuccess {
  return { ...succeeded(result), reported_by: "reviewer" };
}

export function failed(code: ToolErrorCode, message: string): ToolError {
  return { status: "error", code, message: headAndTail(plainText(message), maxMessageBytes) };
}

function plain(value: unknown): unknown {
  if (typeof value === "string") return plainText(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object" || "toJSON" in value) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [plainText(key), plain(item)]));
}
