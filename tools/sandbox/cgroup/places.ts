/**
 * Where this process may make control groups (cgroups(7)): below its own group, in the unified hierarchy (v2) or in those
 * of single controllers (v1), or nowhere, as in most containers.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Existing folders. In v2 they are one. */
export interface Places {
  readonly version: 1 | 2;
  readonly memory: string;
  readonly pids: string;
}

const controllers = ["memory", "pids"] as const;

interface Mount {
  readonly type: string;
  /** The group that is the mount's root. */
  readonly root: string;
  readonly point: string;
  readonly options: readonly string[];
}

/** Undefined where the kernel shows none. Whether a group can be made there is another question. */
export function findPlaces(): Places | undefined {
  const mounts = mountsOf(read("/proc/self/mountinfo"));
  const own = groupsOf(read("/proc/self/cgroup"));
  const unified = mounts.find(({ type }) => type === "cgroup2");
  const unifiedFolder = unified && folderOf(unified, own.get(""));
  const delegated = unifiedFolder && [unifiedFolder, dirname(unifiedFolder)].find(givesControllers);
  if (delegated) return { version: 2, memory: delegated, pids: delegated };
  const [memory, pids] = controllers.map((name) => {
    const mount = mounts.find(({ type, options }) => type === "cgroup" && options.includes(name));
    return mount && folderOf(mount, own.get(name));
  });
  if (!memory || !pids) return undefined;
  return { version: 1, memory, pids };
}

/** Groups below it get the controllers, or do from now on: a group with processes of its own cannot give any. */
function givesControllers(folder: string): boolean {
  if (!hasAll(join(folder, "cgroup.controllers"))) return false;
  const given = join(folder, "cgroup.subtree_control");
  if (hasAll(given)) return true;
  try {
    writeFileSync(given, controllers.map((name) => `+${name}`).join(" "));
    return hasAll(given);
  } catch {
    return false;
  }
}

function hasAll(file: string): boolean {
  const names = read(file).split(/\s+/);
  return controllers.every((name) => names.includes(name));
}

/** Of our own group; of the mount where that is not in sight. */
function folderOf({ root, point }: Mount, group = "/"): string {
  const inside = root !== "/" && group.startsWith(root) ? group.slice(root.length) : group;
  const folder = join(point, inside);
  return existsSync(folder) ? folder : point;
}

/** proc_pid_mountinfo(5). */
function mountsOf(text: string): Mount[] {
  return text.split("\n").flatMap((line) => {
    const [[, , , root, point] = [], [type, , options] = []] = line.split(" - ").map((part) => part.split(" "));
    if (!root || !point || !type || !options) return [];
    return [{ type, root: unescaped(root), point: unescaped(point), options: options.split(",") }];
  });
}

/** By controller; the unified hierarchy's under "". */
function groupsOf(text: string): ReadonlyMap<string, string> {
  return new Map(
    text.split("\n").flatMap((line) => {
      const [, names, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
      return names === undefined || path === undefined ? [] : names.split(",").map((name) => [name, path] as const);
    }),
  );
}

function unescaped(path: string): string {
  return path.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
