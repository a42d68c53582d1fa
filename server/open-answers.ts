/**
 * Answers that their client cannot take up at another process: those of `wait` and `join`, since half a JSON value is an
 * error, and streams that have told no event yet. A stream that is cut is joined again by the stock SDK where it was; one
 * that was nowhere, as if nobody had followed it before, and what is told in between it never hears.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Context } from "hono";
import type { ServerEnv } from "./app.ts";
import { nodeOf } from "./delivery.ts";

export class OpenAnswers {
  readonly #open = new Set<Promise<void>>();

  /** The answer to this request is one, until it has gone out or the returned function is called. */
  add(c: Context<ServerEnv>): () => void {
    const outgoing = nodeOf(c)?.outgoing;
    if (!outgoing || outgoing.destroyed) return () => {};
    const { promise, resolve } = Promise.withResolvers<void>();
    outgoing.once("close", resolve);
    const settled = promise.then(() => {
      this.#open.delete(settled);
    });
    this.#open.add(settled);
    return () => void setImmediate(resolve); // what was just handed over leaves at the end of this turn
  }

  /** Resolves when all have gone out, or after `ms`. */
  async settled(ms: number): Promise<void> {
    const over = new AbortController();
    const late = delay(ms, undefined, { signal: over.signal }).catch(() => {}); // the answers were first
    await Promise.race([Promise.all(this.#open), late]);
    over.abort();
  }
}
