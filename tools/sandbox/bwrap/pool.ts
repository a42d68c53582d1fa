/** Boxes that wait for the next call on their workspace, each for one: making namespaces takes ten times as long as a guest. */
import { Kept } from "../kept.ts";
import { Refusal } from "../native/refusal.ts";
import type { Box } from "./process.ts";

/** 4 MB each. */
const keeping = { idleMs: 30_000, atMost: 16 };

export interface BoxPlan {
  /** The same for boxes that can stand in for each other. Undefined where none can. */
  readonly key: string | undefined;
  start(): Promise<Box>;
}

export class BoxPool {
  readonly #live = new Set<Box>();
  readonly #starting = new Set<Promise<Box>>();
  readonly #waiting = new Kept<Box>({ ...keeping, isGone: (box) => box.isGone, end: (box) => box.kill() });
  #closed = false;

  /** Hands over a box that was never used, ends it, and starts the next one after that if all went well. */
  async withBox<T>(plan: BoxPlan, use: (box: Box) => Promise<T>): Promise<T> {
    const box = (plan.key === undefined ? undefined : this.#waiting.take(plan.key)) ?? (await this.#start(plan));
    try {
      await box.ready;
      const result = await use(box);
      if (plan.key !== undefined) void this.#refill(plan.key, plan);
      return result;
    } finally {
      box.kill();
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#waiting.clear();
    await Promise.allSettled(this.#starting);
    for (const box of this.#live) box.kill();
    await Promise.all([...this.#live].map((box) => box.removed));
  }

  #start(plan: BoxPlan): Promise<Box> {
    const starting = this.#startOne(plan);
    this.#starting.add(starting);
    return starting.finally(() => this.#starting.delete(starting));
  }

  async #startOne(plan: BoxPlan): Promise<Box> {
    const box = await plan.start();
    this.#live.add(box);
    void box.removed.then(() => this.#live.delete(box));
    if (!this.#closed) return box;
    box.kill();
    throw new Refusal("The sandbox is closed");
  }

  async #refill(key: string, plan: BoxPlan): Promise<void> {
    try {
      const box = await this.#start(plan);
      box.rest();
      this.#waiting.keep(key, box);
    } catch {
      // The workspace may be gone, or the executor closed. The next call starts its own, and says what is wrong.
    }
  }
}
