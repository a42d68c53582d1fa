/** Tries a model call again as its class of failure allows, under one deadline for all attempts. */
import { setTimeout as sleep } from "node:timers/promises";
import { asModelError, classify, failureClasses, type ModelFailure } from "./failure.ts";

interface RetryLimits {
  /** `Date.now()` after which no further attempt begins. */
  readonly deadline: number;
  /** Aborting it ends the wait at once; its reason is thrown as it is. */
  readonly signal?: AbortSignal | undefined;
}

/** The outcome of the first attempt that succeeds; `attempt` gets its number, from 1. Throws `model_unavailable`, `model_error` or the signal's reason. */
export async function withRetries<T>(limits: RetryLimits, attempt: (number: number) => Promise<T>): Promise<T> {
  for (let attempts = 1; ; attempts += 1) {
    try {
      return await attempt(attempts);
    } catch (error) {
      limits.signal?.throwIfAborted();
      const failure = classify(error);
      const waitMs = waitBefore(failure, attempts);
      if (attempts > failureClasses[failure.kind].retries || Date.now() + waitMs >= limits.deadline) {
        throw asModelError(failure, attempts);
      }
      await pause(waitMs, limits.signal);
    }
  }
}

/** Exponential with jitter (x 0.5 to 1.5), so that the callers that failed together do not return together. */
function waitBefore({ kind, retryAfterMs }: ModelFailure, attempts: number): number {
  const { firstMs, longestMs } = failureClasses[kind];
  return retryAfterMs ?? Math.min(firstMs * 2 ** (attempts - 1), longestMs) * (0.5 + Math.random());
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}
