/** The control groups of this process: whether it can make any, which is tried for real and once, and new ones. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { isOfDeadProcess } from "../scratch.ts";
import { Group, type GroupLimits, groupPrefix } from "./group.ts";
import { findPlaces, type Places } from "./places.ts";

type GroupsState =
  | { readonly places: Places; readonly detail: string }
  | { readonly places?: undefined; readonly detail: string };

let state: Promise<GroupsState> | undefined;

/** `detail` is for people, of this machine and without a path. Never throws. */
export function groupsHere(): Promise<GroupsState> {
  return (state ??= tryOut(findPlaces()));
}

/** Undefined where this machine has none for us; then resource limits, and looking, are what there is. */
export async function makeGroup(limits: GroupLimits): Promise<Group | undefined> {
  const { places } = await groupsHere();
  return places && Group.make(places, limits).catch(() => undefined);
}

/** Removes those of processes that are gone, and ends what is still in them: guests, and nothing else ever was. */
export async function sweepGroups(): Promise<void> {
  const places = findPlaces();
  if (!places) return;
  const folders = [places.memory, places.pids];
  const names = (await Promise.all(folders.map((folder) => readdir(folder).catch(() => [])))).flat();
  const stale = new Set(names.filter((name) => isOfDeadProcess(name, groupPrefix)));
  for (const name of stale) await new Group(places, name).remove().catch(() => undefined); // somebody else's
}

async function tryOut(places: Places | undefined): Promise<GroupsState> {
  if (!places) return { detail: "no cgroup: this process sees none with memory and pids" };
  try {
    const group = await Group.make(places, { memoryMb: 16, tasks: 4 });
    const child = spawn("/bin/sh", ["-c", "read -r line"], { stdio: ["pipe", "ignore", "ignore"], env: {}, cwd: "/" });
    const exited = once(child, "exit");
    try {
      const pid = child.pid ?? 0;
      await group.enter(pid);
      if (!(await group.members()).includes(pid)) throw new Error("a process does not enter");
    } finally {
      await group.remove();
      child.kill("SIGKILL");
      await exited;
    }
    return { places, detail: `cgroup v${places.version}` };
  } catch (error) {
    return { detail: `no cgroup: ${(error as NodeJS.ErrnoException).code ?? String(error)}` };
  }
}
