/**
 * Counts what a workspace holds, while a guest may go on writing. No quota does that for us, so it has to be quick: it
 * stops as soon as it is too much, and holds no folder open, however deep they go.
 */
import type { Dirent } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join, relative } from "node:path";
import type { Policy } from "./types.ts";

export type WorkspaceLimits = Pick<Policy, "fileMb" | "workspaceMb" | "files">;

export interface Usage {
  readonly bytes: number;
  /** Files, folders, links and all else that has a name. */
  readonly files: number;
}

const megabyte = 1_024 * 1_024;
/** System calls in flight; Node's pool runs four at a time. */
const atOnce = 32;

/**
 * What is in the folders `roots`, or in a part of them that is too much by itself. `without`: names that do not count,
 * by their path relative to their root.
 */
export async function usageOf(
  roots: readonly string[],
  limits: WorkspaceLimits,
  without: ReadonlySet<string> = new Set(),
): Promise<Usage> {
  let [bytes, files] = [0, 0];
  const folders = roots.map((root) => ({ root, folder: root }));
  for (let next = folders.pop(); next; next = folders.pop()) {
    const { root, folder } = next;
    const all = await readdir(folder, { withFileTypes: true }).catch(goneOrTooDeep);
    if (all === "too deep") return { bytes, files: Number.POSITIVE_INFINITY };
    const counts = ({ name }: Dirent): boolean => !without.has(relative(root, join(folder, name)));
    const entries = without.size === 0 ? all : all.filter(counts);
    files += entries.length;
    for (let start = 0; start < entries.length && !excessOf({ bytes, files }, limits); start += atOnce) {
      const sizes = await Promise.all(entries.slice(start, start + atOnce).map((entry) => sizeOf(folder, entry)));
      bytes += sizes.reduce((sum, size) => sum + size, 0);
    }
    if (excessOf({ bytes, files }, limits)) break;
    for (const entry of all) if (entry.isDirectory()) folders.push({ root, folder: join(folder, entry.name) });
  }
  return { bytes, files };
}

/** In words, what is too much; undefined when nothing is. */
export function excessOf({ bytes, files }: Usage, policy: WorkspaceLimits): string | undefined {
  if (bytes > policy.workspaceMb * megabyte) return `The workspace would be larger than ${policy.workspaceMb} MB`;
  return files > policy.files ? `The workspace would hold more than ${policy.files} files` : undefined;
}

async function sizeOf(folder: string, entry: Dirent): Promise<number> {
  if (!entry.isFile()) return 0;
  const stats = await lstat(join(folder, entry.name)).catch(() => undefined); // removed meanwhile
  return stats?.isFile() ? stats.size : 0;
}

function goneOrTooDeep(error: unknown): Dirent[] | "too deep" {
  return (error as NodeJS.ErrnoException).code === "ENAMETOOLONG" ? "too deep" : [];
}
