/**
 * What can go wrong between us and a model endpoint, by class, and how often each class is tried again. This is the
 * only layer that retries model calls. The provider's own words go no further than here: they may hold prompts or keys.
 */
import { ContextOverflowError } from "@langchain/core/errors";
import { OpenAIClient } from "@langchain/openai";
import { type ErrorCode, PawlError } from "../lib/errors.ts";

type FailureKind =
  | "rate_limited"
  | "server_error"
  | "unreachable"
  | "timed_out"
  | "broken_answer"
  | "context_length"
  | "refused";

interface FailureClass {
  readonly code: Extract<ErrorCode, "model_unavailable" | "model_error">;
  readonly message: string;
  readonly retries: number;
  /** Milliseconds before the first retry; doubled for each further one, up to `longestMs`. */
  readonly firstMs: number;
  readonly longestMs: number;
}

const never = { retries: 0, firstMs: 0, longestMs: 0 };

/** Figures: docs/architecture.md, "retries by class". Too long a context is for the caller to shorten, then call again. */
export const failureClasses: Readonly<Record<FailureKind, FailureClass>> = {
  rate_limited: {
    code: "model_unavailable",
    message: "The model endpoint is over its rate limit",
    retries: 5,
    firstMs: 1_000,
    longestMs: 60_000,
  },
  server_error: {
    code: "model_unavailable",
    message: "The model endpoint failed",
    retries: 3,
    firstMs: 500,
    longestMs: 10_000,
  },
  unreachable: {
    code: "model_unavailable",
    message: "The model endpoint can't be reached",
    retries: 3,
    firstMs: 500,
    longestMs: 10_000,
  },
  timed_out: {
    code: "model_unavailable",
    message: "The model endpoint did not answer in time",
    retries: 2,
    firstMs: 500,
    longestMs: 10_000,
  },
  broken_answer: {
    code: "model_error",
    message: "The model's answer broke off",
    retries: 3,
    firstMs: 500,
    longestMs: 10_000,
  },
  context_length: { code: "model_error", message: "The conversation is too long for the model", ...never },
  refused: { code: "model_error", message: "The model endpoint refused the request", ...never },
};

export interface ModelFailure {
  readonly kind: FailureKind;
  readonly status?: number;
  /** What the endpoint asked for in `Retry-After`. */
  readonly retryAfterMs?: number;
  readonly cause: unknown;
}

/** Sorts what the client threw. An error without a status came from a stream or a body that was cut or not JSON. */
export function classify(cause: unknown): ModelFailure {
  const { name, status, headers } = cause as { name?: unknown; status?: unknown; headers?: unknown };
  if (ContextOverflowError.isInstance(cause)) return { kind: "context_length", cause };
  if (name === "TimeoutError") return { kind: "timed_out", cause };
  if (cause instanceof OpenAIClient.APIConnectionError) return { kind: "unreachable", cause };
  if (typeof status !== "number") return { kind: "broken_answer", cause };
  const retryAfterMs = headers instanceof Headers ? retryAfterOf(headers) : undefined;
  return { kind: kindOf(status), status, ...(retryAfterMs !== undefined && { retryAfterMs }), cause };
}

function kindOf(status: number): FailureKind {
  if (status === 429) return "rate_limited";
  if (status === 408) return "timed_out";
  return status >= 500 ? "server_error" : "refused";
}

/** `Retry-After` is a number of seconds or a date (RFC 9110 section 10.2.3). */
function retryAfterOf(headers: Headers): number | undefined {
  const value = headers.get("retry-after");
  if (value === null) return undefined;
  const ms = /^\d+(\.\d+)?$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}

/** The error for callers: our words, the class and the status; the original only as `cause`, for no client to see. */
export function asModelError(failure: ModelFailure, attempts: number): PawlError {
  const { code, message } = failureClasses[failure.kind];
  return new PawlError(code, message, {
    facts: {
      reason: failure.kind,
      attempts,
      ...(failure.status !== undefined && { status: failure.status }),
      ...(failure.retryAfterMs !== undefined && { retry_after_s: Math.ceil(failure.retryAfterMs / 1_000) }),
    },
    cause: failure.cause,
  });
}
