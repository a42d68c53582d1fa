/**
 * Folders of this process outside any workspace, in the system's temporary folder. Their names say whose they are, so
 * that what a killed process left is swept by the next one.
 */
import { readlinkSync } from "node:fs";
import { mkdtemp, readdir, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** `guest`: of a launcher. `proxy`: the socket of a session's network. `probe`: bait of a self-test. */
type ScratchKind = "guest" | "proxy" | "probe";

const kinds: readonly ScratchKind[] = ["guest", "proxy", "probe"];

/** A name that says whose it is. `prefix` is a word of ours, `rest` anything. */
export function ownName(prefix: string, rest: string): string {
  return `${prefix}-${processNamespace()}-${process.pid}-${rest}`;
}

/** Whether a process that is gone has given this name; of others, and of anybody else, it is not known. */
export function isOfDeadProcess(name: string, prefix: string): boolean {
  const [, namespace, pid] = name.startsWith(prefix) ? (/^-(\d+)-(\d+)-/.exec(name.slice(prefix.length)) ?? []) : [];
  // The process ids of another container that shares this folder say nothing here.
  return namespace === processNamespace() && !isAlive(Number(pid));
}

/** A new one, readable by this user alone; its real path. */
export async function makeScratch(kind: ScratchKind): Promise<string> {
  return realpath(await mkdtemp(join(tmpdir(), ownName(`pawl-${kind}`, ""))));
}

/** Deletes those of processes that are gone. What cannot be deleted is somebody else's, and stays. */
export async function sweepScratch(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!kinds.some((kind) => isOfDeadProcess(name, `pawl-${kind}`))) continue;
    await rm(join(tmpdir(), name), { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Which numbering of processes we are in; 0 where there is but one. */
function processNamespace(): string {
  try {
    return /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? "0";
  } catch {
    return "0";
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
