/**
 * Launchers, which take fifty times as long to start as a guest. One waits unconfined; a confined one is kept for its
 * workspace for a while. None ever serves two workspaces, and none two guests at once.
 */
import { rm } from "node:fs/promises";
import type { Group, GroupLimits } from "../cgroup/group.ts";
import { makeGroup } from "../cgroup/groups.ts";
import { Kept } from "../kept.ts";
import { Refusal } from "../native/refusal.ts";
import type { Confinement } from "./protocol.ts";
import type { GuestFolders } from "./guest-paths.ts";
import { Launcher } from "./launcher-process.ts";

/** How long a confined launcher waits for its workspace's next guest, and how many wait, at 41 MB each. */
const keeping = { idleMs: 30_000, atMost: 16 };

/** A launcher with the folders that it is confined to. */
export interface Seat {
  readonly launcher: Launcher;
  readonly folders: GuestFolders;
  /** To be removed with the launcher; holds what `folders` names. */
  readonly privateFolder: string;
  /** Of the launcher and its guests, where the machine has groups. */
  readonly group: Group | undefined;
}

export interface SeatPlan {
  /** The same for seats that can stand in for each other. */
  readonly key: string;
  readonly groupLimits: GroupLimits;
  prepare(): Promise<Omit<Seat, "launcher" | "group"> & { readonly confinement: Confinement }>;
}

export class LauncherPool {
  #spare: Launcher | undefined;
  readonly #idle = new Kept<Seat>({
    ...keeping,
    isGone: ({ launcher }) => launcher.isGone,
    end: (seat) => void this.#end(seat),
  });
  readonly #live = new Set<Seat>();
  #closed = false;

  /** Throws with the reason when this machine cannot confine a launcher. */
  async withSeat<T>(plan: SeatPlan, use: (seat: Seat) => Promise<T>): Promise<T> {
    const seat = this.#idle.take(plan.key) ?? (await this.#confine(plan));
    let reusable = false;
    try {
      const result = await use(seat);
      reusable = !seat.launcher.isGone && !this.#closed;
      return result;
    } finally {
      if (reusable) this.#idle.keep(plan.key, seat);
      else await this.#end(seat);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#idle.clear();
    const spare = this.#spare;
    this.#spare = undefined;
    await Promise.all([spare?.close(), ...[...this.#live].map((seat) => this.#end(seat))]);
  }

  async #confine(plan: SeatPlan): Promise<Seat> {
    if (this.#closed) throw new Refusal("The sandbox is closed");
    const { confinement, ...folders } = await plan.prepare();
    const group = await makeGroup(plan.groupLimits);
    const spare = this.#takeSpare();
    const seat = { launcher: spare ?? new Launcher(), group, ...folders };
    const confined = await this.#confined(seat, confinement, { isSpare: spare !== undefined });
    if (!this.#closed) this.#spare ??= new Launcher();
    return confined;
  }

  /** A spare one may have died while it waited, and nobody have heard of it yet: then a new one takes its place. */
  async #confined(seat: Seat, confinement: Confinement, { isSpare }: { readonly isSpare: boolean }): Promise<Seat> {
    this.#live.add(seat);
    try {
      await Promise.all([seat.launcher.confine(confinement), seat.group?.enter(seat.launcher.pid)]);
      return seat;
    } catch (error) {
      if (!isSpare || this.#closed) {
        await this.#end(seat);
        throw error;
      }
      await seat.launcher.close();
      this.#live.delete(seat);
      return this.#confined({ ...seat, launcher: new Launcher() }, confinement, { isSpare: false });
    }
  }

  #takeSpare(): Launcher | undefined {
    const spare = this.#spare;
    this.#spare = undefined;
    return spare?.isGone ? undefined : spare;
  }

  async #end(seat: Seat): Promise<void> {
    await seat.launcher.close();
    await seat.group?.remove();
    this.#live.delete(seat);
    await rm(seat.privateFolder, { recursive: true, force: true });
  }
}
