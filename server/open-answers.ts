/**
 * Answers that their client cannot take up at another process: those of `wait` and `join`, since half a JSON value is an
 * error, and streams that have sent no event yet. The stock SDK joins a stream that was cut again at the last event it has
 * seen. Without one it joins as a new reader, and never gets the events that came in between.
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

  /** Resolves when all have gone out, those that begin meanwhile too, or after `ms`. */
  async settled(ms: number): Promise<void> {
    const over = new AbortController();
    const late = delay(ms, true, { signal: over.signal }).catch(() => true); // the answers were first
    let isLate = false;
    // A connection that was kept alive may bring a request after this server has stopped accepting new ones.
    while (this.#open.size > 0 && !isLate) {
      isLate = await Promise.race([late, ...[...this.#open].map((answer) => answer.then(() => false))]);
    }
    over.abort();
  }
}
