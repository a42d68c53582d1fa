/**
 * Counts what a guest has written, while it may go on writing. No quota does that for us, so it has to be quick: it
 * stops as soon as it is too much, and holds no folder open, however deep they go.
 */
import type { Dirent } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { excessOf, type Usage, type WorkspaceLimits } from "../files.ts";

/** System calls in flight; Node's pool runs four at a time. */
const atOnce = 32;

/** What is in the folders `roots`, or in a part of them that is too much by itself. */
export async function countFiles(roots: readonly string[], limits: WorkspaceLimits): Promise<Usage> {
  let [bytes, files] = [0, 0];
  const folders = [...roots];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const entries = await readdir(folder, { withFileTypes: true }).catch(goneOrTooDeep);
    if (entries === "too deep") return { bytes, files: Number.POSITIVE_INFINITY };
    files += entries.length;
    for (let start = 0; start < entries.length && !excessOf({ bytes, files }, limits); start += atOnce) {
      const sizes = await Promise.all(entries.slice(start, start + atOnce).map((entry) => sizeOf(folder, entry)));
      bytes += sizes.reduce((sum, size) => sum + size, 0);
    }
    if (excessOf({ bytes, files }, limits)) break;
    for (const entry of entries) if (entry.isDirectory()) folders.push(join(folder, entry.name));
  }
  return { bytes, files };
}

async function sizeOf(folder: string, entry: Dirent): Promise<number> {
  if (!entry.isFile()) return 0;
  const stats = await lstat(join(folder, entry.name)).catch(() => undefined); // removed meanwhile
  return stats?.isFile() ? stats.size : 0;
}

function goneOrTooDeep(error: unknown): Dirent[] | "too deep" {
  return (error as NodeJS.ErrnoException).code === "ENAMETOOLONG" ? "too deep" : [];
}
