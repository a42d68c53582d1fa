/** A version of a thread's files with one thing changed, by the rules that hold in a folder. Pure: what is kept where is the caller's. */
import type { VersionEntry } from "../../lib/file-versions.ts";
import { excessOf, type WorkspaceLimits } from "./files.ts";
import { FileError, partsOf } from "./paths.ts";

const megabyte = 1_024 * 1_024;

/** With the file `path` added or replaced, and the folders above it. Throws `FileError`. */
export function withFile(
  entries: readonly VersionEntry[],
  { path, hash, size }: { path: string; hash: string; size: number },
  limits: WorkspaceLimits,
): VersionEntry[] {
  const parts = partsOf(path);
  const name = parts.join("/");
  const byPath = new Map(entries.map((entry) => [entry.path, entry]));
  if (parts.length === 0 || byPath.get(name)?.hash === null) {
    throw new FileError("is_directory", `${path} is a directory`);
  }
  for (let depth = 1; depth < parts.length; depth++) {
    const folder = parts.slice(0, depth).join("/");
    if (byPath.get(folder)?.hash) {
      throw new FileError("invalid_path", `${path} goes through something that is not a directory`);
    }
    byPath.set(folder, { path: folder, hash: null, size: 0, executable: false });
  }
  byPath.set(name, { path: name, hash, size, executable: byPath.get(name)?.executable ?? false });
  const edited = [...byPath.values()];
  const bytes = edited.reduce((sum, entry) => sum + entry.size, 0);
  const problem =
    size > limits.fileMb * megabyte
      ? `${path} would be larger than ${limits.fileMb} MB`
      : excessOf({ bytes, files: edited.length }, limits);
  if (problem) throw new FileError("permission_denied", problem);
  return edited;
}

/** Without the file `path`, or the folder with all that is in it. Throws `FileError` when there is neither. */
export function without(entries: readonly VersionEntry[], path: string): VersionEntry[] {
  const name = partsOf(path).join("/");
  if (name === "") throw new FileError("is_directory", `${path} is a directory`);
  const left = entries.filter((entry) => entry.path !== name && !entry.path.startsWith(`${name}/`));
  if (left.length === entries.length) throw new FileError("file_not_found", `${path} does not exist`);
  return left;
}

/** The file `path`. Throws `FileError` when there is none. */
export function fileAt(entries: readonly VersionEntry[], path: string): { hash: string; size: number } {
  const name = partsOf(path).join("/");
  const entry = entries.find((one) => one.path === name);
  if (name === "" || entry?.hash === null) throw new FileError("is_directory", `${path} is a directory`);
  if (!entry) throw new FileError("file_not_found", `${path} does not exist`);
  return { hash: entry.hash, size: entry.size };
}
