/**
 * Answers that their client cannot take up at another process: those of `wait` and `join`. A stream that is cut is
 * joined again by the stock SDK where it was; half a JSON value is an error.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Context } from "hono";
import type { ServerEnv } from "./app.ts";
import { nodeOf } from "./delivery.ts";

export class OpenAnswers {
  readonly #open = new Set<Promise<void>>();

  /** The answer to this request is one. */
  add(c: Context<ServerEnv>): void {
    const outgoing = nodeOf(c)?.outgoing;
    if (!outgoing || outgoing.destroyed) return;
    const closed = new Promise<void>((resolve) => outgoing.once("close", resolve)).then(() => {
      this.#open.delete(closed);
    });
    this.#open.add(closed);
  }

  /** Resolves when all have gone out, or after `ms`. */
  async settled(ms: number): Promise<void> {
    const over = new AbortController();
    const late = delay(ms, undefined, { signal: over.signal }).catch(() => {}); // the answers were first
    await Promise.race([Promise.all(this.#open), late]);
    over.abort();
  }
}
