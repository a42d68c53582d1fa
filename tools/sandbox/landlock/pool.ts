/**
 * Launchers, which take fifty times as long to start as a guest. One waits unconfined; a confined one is kept for its
 * workspace for a while. None ever serves two workspaces, and none two guests at once.
 */
import { rm } from "node:fs/promises";
import { Refusal } from "../native/refusal.ts";
import type { Confinement } from "./protocol.ts";
import type { GuestFolders } from "./guest-paths.ts";
import { Launcher } from "./launcher-process.ts";

const idleMs = 30_000;

/** A launcher with the folders that it is confined to. */
export interface Seat {
  readonly launcher: Launcher;
  readonly folders: GuestFolders;
  /** To be removed with the launcher; holds what `folders` names. */
  readonly privateFolder: string;
}

export interface SeatPlan {
  /** The same for seats that can stand in for each other. */
  readonly key: string;
  prepare(): Promise<Omit<Seat, "launcher"> & { readonly confinement: Confinement }>;
}

export class LauncherPool {
  #spare: Launcher | undefined;
  readonly #idle = new Map<string, { seat: Seat; timer: NodeJS.Timeout }[]>();
  readonly #live = new Set<Seat>();
  #closed = false;

  /** Throws with the reason when this machine cannot confine a launcher. */
  async withSeat<T>(plan: SeatPlan, use: (seat: Seat) => Promise<T>): Promise<T> {
    const seat = this.#takeIdle(plan.key) ?? (await this.#confine(plan));
    let reusable = false;
    try {
      const result = await use(seat);
      reusable = !seat.launcher.isGone && !this.#closed;
      return result;
    } finally {
      if (reusable) this.#keep(plan.key, seat);
      else await this.#end(seat);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const kept of this.#idle.values()) for (const { timer } of kept) clearTimeout(timer);
    this.#idle.clear();
    const spare = this.#spare;
    this.#spare = undefined;
    await Promise.all([spare?.close(), ...[...this.#live].map((seat) => this.#end(seat))]);
  }

  #takeIdle(key: string): Seat | undefined {
    const kept = this.#idle.get(key);
    for (let next = kept?.pop(); next; next = kept?.pop()) {
      clearTimeout(next.timer);
      if (!next.seat.launcher.isGone) return next.seat;
      void this.#end(next.seat);
    }
    return undefined;
  }

  #keep(key: string, seat: Seat): void {
    const kept = this.#idle.get(key) ?? [];
    const timer = setTimeout(() => {
      const rest = (this.#idle.get(key) ?? []).filter((entry) => entry.seat !== seat);
      if (rest.length > 0) this.#idle.set(key, rest);
      else this.#idle.delete(key);
      void this.#end(seat);
    }, idleMs).unref();
    this.#idle.set(key, [...kept, { seat, timer }]);
  }

  async #confine(plan: SeatPlan): Promise<Seat> {
    if (this.#closed) throw new Refusal("The sandbox is closed");
    const { confinement, ...folders } = await plan.prepare();
    const launcher = this.#takeSpare();
    const seat = { launcher, ...folders };
    this.#live.add(seat);
    try {
      await launcher.confine(confinement);
    } catch (error) {
      await this.#end(seat);
      throw error;
    }
    if (!this.#closed) this.#spare ??= new Launcher();
    return seat;
  }

  #takeSpare(): Launcher {
    const spare = this.#spare;
    this.#spare = undefined;
    return spare && !spare.isGone ? spare : new Launcher();
  }

  async #end(seat: Seat): Promise<void> {
    await seat.launcher.close();
    this.#live.delete(seat);
    await rm(seat.privateFolder, { recursive: true, force: true });
  }
}
