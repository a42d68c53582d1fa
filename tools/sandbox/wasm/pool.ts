/**
 * Guest processes started ahead, because starting one takes fifty times as long as evaluating in it. One that was used
 * goes back to nobody but the owner whose code it ran, and only if its program says so: a process must not carry
 * anything from one thread to another.
 */
import { Kept } from "../kept.ts";
import { GuestChild } from "./child.ts";
import type { GuestProgram } from "./programs.ts";

/** A used guest waits so long for the next call of its owner, and so many of them wait, at 60 MB each. */
const keeping = { idleMs: 30_000, atMost: 8 };

export class GuestPool {
  readonly #program: GuestProgram;
  readonly #idle: GuestChild[] = [];
  readonly #live = new Set<GuestChild>();
  readonly #kept = new Kept<GuestChild>({
    ...keeping,
    isGone: (guest) => guest.isGone,
    end: (guest) => void this.#end(guest),
  });
  #closed = false;

  constructor(program: GuestProgram) {
    this.#program = program;
  }

  /** A guest that died while it waited is noticed only when it is asked: one try more than there may be of those. */
  get tries(): number {
    return this.#program.idleTarget + keeping.atMost + 1;
  }

  /**
   * Hands a guest to `use` that never ran code of anybody but `owner`, and keeps or ends it afterwards. Rejects when
   * none can be started. The next guest starts after the call, not during it: on a small machine it would take the CPU
   * that the call is waiting for.
   */
  async withGuest<T>(owner: string, use: (guest: GuestChild) => Promise<T>): Promise<T> {
    if (this.#closed) throw new Error("The sandbox is closed");
    const guest = this.#kept.take(owner) ?? this.#takeIdle() ?? this.#start();
    try {
      return await use(guest);
    } finally {
      if (this.#program.isReusable && guest.mayServeAgain && !this.#closed) {
        guest.rest();
        this.#kept.keep(owner, guest);
        this.#refill();
        // Not awaited: the caller has its answer, and SIGKILL needs no help.
      } else void this.#end(guest).then(() => this.#refill());
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#kept.clear();
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

  async #end(guest: GuestChild): Promise<void> {
    await guest.kill();
    this.#live.delete(guest);
  }

  #refill(): void {
    while (!this.#closed && this.#idle.length < this.#program.idleTarget) {
      const guest = this.#start();
      guest.rest();
      this.#idle.push(guest);
    }
  }
}
