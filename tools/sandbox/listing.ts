/** Lists what is in a thread's workspace, without following a link. */
import { constants, type Stats } from "node:fs";
import { lstat } from "node:fs/promises";
import { type Folder, openFolder } from "./folder.ts";
import { absent, isTemporaryName, maxDepth, partsOf } from "./paths.ts";
import type { Workspace } from "./workspace.ts";

export interface FileEntry {
  /** Relative to the workspace. */
  readonly path: string;
  readonly type: "file" | "directory" | "other";
  readonly size: number;
  readonly modifiedAt: Date;
  readonly executable: boolean;
  /** Milliseconds: when the system last changed it, which no guest can set. */
  readonly changedMs: number;
  /** Differs after each change, as far as the system tells. */
  readonly stamp: string;
}

/** What is in the folder `path` itself, sorted by name. */
export async function listFolder(workspace: Workspace, path: string): Promise<FileEntry[]> {
  const parts = partsOf(path);
  await using folder = await openFolder(workspace, parts, { path });
  return await entriesOf(folder, parts);
}

/** All entries below the folder `path`, one by one: sorted by name, folders before what is in them. */
export async function* entriesBelow(workspace: Workspace, path: string): AsyncGenerator<FileEntry> {
  const parts = partsOf(path);
  await using folder = await openFolder(workspace, parts, { path });
  yield* walk(folder, parts);
}

async function* walk(folder: Folder, parts: readonly string[]): AsyncGenerator<FileEntry> {
  for (const entry of await entriesOf(folder, parts)) {
    yield entry;
    // Each level holds a descriptor of ours, and a path that is deeper could not be named anyway.
    if (entry.type !== "directory" || parts.length + 1 >= maxDepth) continue;
    const name = entry.path.split("/").at(-1)!;
    // Removed or replaced meanwhile: then it has no entries.
    const inside = await folder.enter(name, entry.path, false).catch(() => undefined);
    if (!inside) continue;
    try {
      yield* walk(inside, [...parts, name]);
    } finally {
      await inside[Symbol.asyncDispose]();
    }
  }
}

async function entriesOf(folder: Folder, parts: readonly string[]): Promise<FileEntry[]> {
  const entries: FileEntry[] = [];
  for (const name of await folder.names(parts.join("/"))) {
    if (isTemporaryName(name)) continue;
    const stats = await lstat(folder.at(name)).catch(absent(name));
    if (stats) entries.push(entryOf([...parts, name].join("/"), stats));
  }
  return entries;
}

function entryOf(path: string, stats: Stats): FileEntry {
  const type = stats.isFile() ? "file" : stats.isDirectory() ? "directory" : "other";
  return {
    path,
    type,
    size: type === "file" ? stats.size : 0,
    modifiedAt: stats.mtime,
    executable: type === "file" && (stats.mode & constants.S_IXUSR) !== 0,
    changedMs: stats.ctimeMs,
    stamp: `${stats.ino}:${stats.ctimeMs}:${stats.size}`,
  };
}
