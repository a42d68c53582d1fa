/**
 * Guest processes started ahead, because starting one takes fifty times as long as evaluating in it. Each is used
 * once and never goes back: a process must not carry anything from one thread to another.
 */
import { GuestChild } from "./child.ts";
import type { GuestProgram } from "./programs.ts";

export class GuestPool {
  readonly #program: GuestProgram;
  readonly #idle: GuestChild[] = [];
  readonly #live = new Set<GuestChild>();
  #closed = false;

  constructor(program: GuestProgram) {
    this.#program = program;
  }

  /** A guest that died while it waited is noticed only when it is asked: one try more than there may be of those. */
  get tries(): number {
    return this.#program.idleTarget + 1;
  }

  /**
   * Hands a fresh guest to `use` and ends it afterwards. Rejects when none can be started. The next guest starts
   * after the call, not during it: on a small machine it would take the CPU that the call is waiting for.
   */
  async withGuest<T>(use: (guest: GuestChild) => Promise<T>): Promise<T> {
    if (this.#closed) throw new Error("The sandbox is closed");
    const guest = this.#takeIdle() ?? this.#start();
    try {
      return await use(guest);
    } finally {
      // Not awaited: the caller has its answer, and SIGKILL needs no help.
      void this.#replace(guest);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#live].map((guest) => guest.kill()));
  }

  #takeIdle(): GuestChild | undefined {
    for (let guest = this.#idle.shift(); guest; guest = this.#idle.shift()) {
      if (!guest.isGone) return guest;
      this.#live.delete(guest);
    }
    return undefined;
  }

  #start(): GuestChild {
    const guest = new GuestChild(this.#program);
    this.#live.add(guest);
    return guest;
  }

  async #replace(guest: GuestChild): Promise<void> {
    await guest.kill();
    this.#live.delete(guest);
    this.#refill();
  }

  #refill(): void {
    while (!this.#closed && this.#idle.length < this.#program.idleTarget) {
      const guest = this.#start();
      guest.rest();
      this.#idle.push(guest);
    }
  }
}
