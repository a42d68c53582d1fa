/** The stock client, held by a caller who does not take a failure for an answer until the time is up. */
import { setTimeout as delay } from "node:timers/promises";
import { Client } from "@langchain/langgraph-sdk";

/** What makes a POST repeatable. */
export interface Key {
  readonly kind: "Idempotency-Key" | "run_id";
  readonly value: string;
}

const AGAIN_MS = 300;

export class StubbornClient {
  readonly #url: string;
  readonly #timeUp: AbortSignal;

  constructor(url: string, timeUp: AbortSignal) {
    this.#url = url;
    this.#timeUp = timeUp;
  }

  get isTimeUp(): boolean {
    return this.#timeUp.aborted;
  }

  /** A client as users make it; with `key`, one whose POSTs carry it. */
  client(key?: Key): Client {
    return new Client({
      apiUrl: this.#url,
      apiKey: null,
      ...(key?.kind === "Idempotency-Key" && { defaultHeaders: { "idempotency-key": key.value } }),
      ...(key?.kind === "run_id" && {
        onRequest: (_url: URL, init: RequestInit) =>
          typeof init.body === "string"
            ? { ...init, body: JSON.stringify({ ...(JSON.parse(init.body) as object), run_id: key.value }) }
            : init,
      }),
    });
  }

  /** Calls until the server answers; throws what it refuses (4xx), and when the time is up. */
  async insist<T>(call: (client: Client, signal: AbortSignal) => Promise<T>, key?: Key): Promise<T> {
    for (;;) {
      this.#timeUp.throwIfAborted();
      try {
        return await call(this.client(key), this.#timeUp);
      } catch (error) {
        const status = statusOf(error);
        if (status !== undefined && status < 500) throw error;
        await delay(AGAIN_MS, undefined, { signal: this.#timeUp });
      }
    }
  }

  /** Calls once, as the stock client does by itself: undefined when it failed, and nobody knows what became of it. */
  async once<T>(call: (client: Client, signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
    try {
      return await call(this.client(), this.#timeUp);
    } catch (error) {
      const status = statusOf(error);
      if (status !== undefined && status < 500) throw error;
      return undefined;
    }
  }

  pause(ms: number): Promise<void> {
    return delay(ms, undefined, { signal: this.#timeUp });
  }
}

/** The HTTP status by which the server refused, if it did. */
export function statusOf(error: unknown): number | undefined {
  const { status } = error as { status?: unknown };
  return typeof status === "number" ? status : undefined;
}
