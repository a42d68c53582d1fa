/** What a guest sees inside bwrap: the system's programs read-only, its workspace, a small `/tmp`, and nothing else. */
import { lstatSync, readlinkSync } from "node:fs";
import { dirname } from "node:path";
import { type Interpreters, systemPaths } from "../native/interpreters.ts";
import { guestRoot } from "../paths.ts";

/** Where a guest finds the Node of this installation, whose own path is nobody's business. */
export const guestNode = "/opt/pawl/node";
/** The descriptor that carries the system call filter. */
export const filterDescriptor = 3;

interface Surroundings {
  /** On this machine. */
  readonly workspace: string;
  readonly env: Readonly<Record<string, string>>;
  readonly interpreters: Interpreters;
  readonly temporaryMb: number;
  /** Files that are made to appear: from a path on this machine to the guest's. */
  readonly extra: readonly (readonly [host: string, guest: string])[];
}

export function bwrapArguments({ workspace, env, interpreters, temporaryMb, extra }: Surroundings): string[] {
  const size = String(temporaryMb * 1_024 * 1_024);
  return [
    ["--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"],
    // The guest is the first process of its namespace: the kernel ends it only after all others, and bwrap buries it.
    ["--as-pid-1"],
    ["--cap-drop", "ALL", "--uid", "1000", "--gid", "1000", "--hostname", "sandbox", "--clearenv"],
    Object.entries(env).flatMap(([name, value]) => ["--setenv", name, value]),
    systemPaths().flatMap(show),
    interpreters.js ? ["--ro-bind", interpreters.js, guestNode] : [],
    ["--proc", "/proc", "--dev", "/dev"],
    // Memory that no limit of a process counts.
    ["--size", size, "--tmpfs", "/tmp", "--size", size, "--tmpfs", "/dev/shm", "--remount-ro", "/dev"],
    ["--bind", workspace, guestRoot],
    extra.flatMap(([host, guest]) => ["--ro-bind", host, guest]),
    ["--remount-ro", "/", "--chdir", guestRoot],
    ["--seccomp", String(filterDescriptor), "--"],
  ].flat();
}

/** On a merged-/usr system `/bin` is a link, and has to be one inside. */
function show(path: string): string[] {
  const above = ["/", "/usr"].includes(dirname(path)) ? [] : ["--dir", dirname(path)];
  if (lstatSync(path).isSymbolicLink() && dirname(path) === "/")
    return [...above, "--symlink", readlinkSync(path), path];
  return [...above, "--ro-bind", path, path];
}
