/**
 * A control group for one guest and all that it starts, however it detaches itself: the kernel counts their memory and
 * their tasks together. A guest cannot leave it, since no guest sees the file system of the groups.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { chown, mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { descendantsOf, killProcess } from "../native/processes.ts";
import { Refusal } from "../native/refusal.ts";
import { ownName } from "../scratch.ts";
import type { Places } from "./places.ts";

export interface GroupLimits {
  readonly memoryMb: number;
  /** Processes and threads. */
  readonly tasks: number;
}

export const groupPrefix = "pawl-group";
interface Program {
  readonly command: string;
  readonly args: readonly string[];
}

/** How long the kernel may take to bury what was killed. */
const buryMs = 2_000;
const lookMs = 5;

export class Group {
  readonly #places: Places;
  readonly #name: string;

  /** Of one that exists, or is about to. */
  constructor(places: Places, name = ownName(groupPrefix, randomBytes(6).toString("hex"))) {
    this.#places = places;
    this.#name = name;
  }

  /** Throws where one cannot be made; then nothing is left of it. */
  static async make(places: Places, limits: GroupLimits): Promise<Group> {
    const group = new Group(places);
    try {
      for (const folder of group.#folders) await mkdir(folder);
      await group.#limit(limits);
      return group;
    } catch (error) {
      await group.remove();
      throw error;
    }
  }

  /**
   * Puts in `root` and its descendants; `root` must not run a guest's code yet. What is started meanwhile by one that was
   * not in yet is found by the next look, and what is started later is born inside. The first move waits for the
   * kernel, some 10 to 25 ms, in which nothing else has to wait. Throws `Refusal`.
   */
  async enter(root: number): Promise<void> {
    try {
      await this.#enter(root);
    } catch (error) {
      throw new Refusal(`The sandbox does not get into its control group (${(error as NodeJS.ErrnoException).code})`);
    }
  }

  async #enter(root: number): Promise<void> {
    const inside = new Set<number>();
    for (;;) {
      const outside = [root, ...descendantsOf(root)].filter((pid) => !inside.has(pid));
      if (outside.length === 0) return;
      for (const pid of outside) {
        for (const folder of this.#folders)
          await writeFile(join(folder, "cgroup.procs"), String(pid)).catch(unlessGone);
        inside.add(pid);
      }
    }
  }

  /**
   * `program` as one that enters by itself before it starts, as the user `account`; undefined where only `enter` does it.
   * A v1 group lets a single task in without the wait.
   */
  async selfEntering({ command, args }: Program, account: number | undefined): Promise<Program | undefined> {
    if (this.#places.version === 2) return undefined;
    const doors = this.#folders.map((folder) => join(folder, "tasks"));
    if (account !== undefined) for (const door of doors) await chown(door, account, account);
    const enter = doors.map((_, at) => `echo 0 >"$${at + 1}"`).join(" && ");
    const script = `${enter} && shift ${doors.length} && exec "$@"; exit 125`;
    return { command: "/bin/sh", args: ["-c", script, "sh", ...doors, command, ...args] };
  }

  /** The processes in it, as this process numbers them. */
  async members(): Promise<number[]> {
    const lists = this.#folders.map((folder) => readFile(join(folder, "cgroup.procs"), "utf8").catch(() => ""));
    // 0 is a process that we cannot see, and a signal to 0 would be one to ourselves.
    const pids = (await Promise.all(lists)).join("\n").split("\n").map(Number);
    return [...new Set(pids.filter((pid) => pid > 1))];
  }

  /** How often the kernel ended a process of it for want of memory. */
  oomKills(): number {
    const file = this.#places.version === 2 ? "memory.events" : "memory.oom_control";
    try {
      return Number(/^oom_kill (\d+)/m.exec(readFileSync(join(this.#memory, file), "latin1"))?.[1] ?? 0);
    } catch {
      return 0; // removed
    }
  }

  /** SIGKILL to all, and the end of the group. Harmless when it is gone; what cannot be ended stays for a later sweep. */
  async remove(): Promise<void> {
    await this.#kill();
    for (let waited = 0; waited < buryMs; waited += lookMs) {
      const left = await Promise.all(this.#folders.map((folder) => rmdir(folder).then(() => false, isThere)));
      if (!left.includes(true)) return;
      await delay(lookMs);
    }
  }

  async #kill(): Promise<void> {
    const kill = join(this.#pids, "cgroup.kill");
    if (existsSync(kill)) return writeFile(kill, "1");
    // v1, and v2 before Linux 5.14. Nothing can be started any more, so the list only gets shorter.
    await writeFile(join(this.#pids, "pids.max"), "0").catch(() => {});
    for (const pid of await this.members()) killProcess(pid);
  }

  async #limit({ memoryMb, tasks }: GroupLimits): Promise<void> {
    const bytes = String(memoryMb * 1_024 * 1_024);
    await writeFile(join(this.#pids, "pids.max"), String(tasks));
    if (this.#places.version === 2) {
      await writeFile(join(this.#memory, "memory.max"), bytes);
      // Where the kernel counts swap, none; where it does not, there is none to be had.
      await writeFile(join(this.#memory, "memory.swap.max"), "0", { flag: "r+" }).catch(unlessGone);
      return;
    }
    await writeFile(join(this.#memory, "memory.limit_in_bytes"), bytes);
    await writeFile(join(this.#memory, "memory.memsw.limit_in_bytes"), bytes, { flag: "r+" }).catch(unlessGone);
  }

  get #memory(): string {
    return join(this.#places.memory, this.#name);
  }

  get #pids(): string {
    return join(this.#places.pids, this.#name);
  }

  get #folders(): string[] {
    return [...new Set([this.#memory, this.#pids])];
  }
}

/** A process that ended, or a file that this kernel does not have. */
function unlessGone(error: NodeJS.ErrnoException): void {
  if (error.code !== "ESRCH" && error.code !== "ENOENT" && error.code !== "EACCES") throw error;
}

function isThere(error: NodeJS.ErrnoException): boolean {
  return error.code !== "ENOENT";
}
