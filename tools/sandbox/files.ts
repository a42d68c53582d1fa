/**
 * Reads and writes a thread's workspace without leaving it. Only regular files with one name are opened (a FIFO would
 * hang whoever reads it, a second name may be outside), each from its own folder (folder.ts).
 */
import { randomUUID } from "node:crypto";
import { constants, type Stats } from "node:fs";
import { lstat, mkdir, open, rename, rm } from "node:fs/promises";
import { type Folder, openFolder } from "./folder.ts";
import { absent, FileError, partsOf, requireRegular, rethrowFor } from "./paths.ts";
import type { Policy } from "./types.ts";
import type { Workspace } from "./workspace.ts";

export interface FileEntry {
  /** Relative to the workspace. */
  readonly path: string;
  readonly type: "file" | "directory" | "other";
  readonly size: number;
  readonly modifiedAt: Date;
  readonly executable: boolean;
  /** The time at which the system last changed it, which no guest can set, in milliseconds; and what else tells a change. */
  readonly changedMs: number;
  readonly stamp: string;
}

export type WorkspaceLimits = Pick<Policy, "fileMb" | "workspaceMb" | "files">;

const megabyte = 1_024 * 1_024;

/** Our own unfinished writes; never listed. */
const temporary = /^\.pawl-[0-9a-f-]{36}\.tmp$/;

const openFlags = {
  // O_NONBLOCK: opening a FIFO returns at once, and fstat then shows what it is.
  read: constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
  create: constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
};

/** Throws `FileError`. `maxBytes` bounds what is read into memory. */
export async function readWorkspaceFile(workspace: Workspace, path: string, maxBytes: number): Promise<Buffer> {
  return (await readWithTime(workspace, path, maxBytes)).bytes;
}

/** The same, and when the file was written. */
export async function readWithTime(
  workspace: Workspace,
  path: string,
  maxBytes: number,
): Promise<{ bytes: Buffer; modifiedAt: Date }> {
  const { folders, name } = nameOf(path);
  await using folder = await openFolder(workspace, folders, { path });
  await using file = await open(folder.at(name), openFlags.read).catch(rethrowFor(path));
  const stats = await file.stat();
  requireRegular(stats, path);
  if (stats.size > maxBytes) throw new FileError("permission_denied", `${path} is larger than ${maxBytes} bytes`);
  const bytes = Buffer.alloc(stats.size);
  const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
  return { bytes: bytes.subarray(0, bytesRead), modifiedAt: stats.mtime };
}

/** Creates or replaces a file, and the folders above it. All or nothing: a reader sees the old file or the new one. */
export async function writeWorkspaceFile(
  workspace: Workspace,
  { path, content }: { path: string; content: Uint8Array },
  policy: WorkspaceLimits,
): Promise<void> {
  const { folders, name } = nameOf(path);
  await requireRoom(workspace, { path, name: [...folders, name].join("/"), size: content.length }, policy);
  await using folder = await openFolder(workspace, folders, { path, create: true });
  const existing = await folder.stat(name, path);
  if (existing) requireRegular(existing, path);
  await replaceFile(folder, { name, path, content, mode: 0o600 });
}

/** The same without limits, for content that was within them before. What is there must be a file, or nothing. */
export async function restoreWorkspaceFile(
  workspace: Workspace,
  { path, content, executable }: { path: string; content: Uint8Array; executable: boolean },
): Promise<void> {
  const { folders, name } = nameOf(path);
  await using folder = await openFolder(workspace, folders, { path, create: true });
  await replaceFile(folder, { name, path, content, mode: executable ? 0o700 : 0o600 });
}

/** Deletes a file, or a folder with all that is in it. Links go, what they point to stays. */
export async function deleteWorkspaceFile(workspace: Workspace, path: string): Promise<void> {
  const { folders, name } = nameOf(path);
  await using folder = await openFolder(workspace, folders, { path });
  if (!(await lstat(folder.at(name)).catch(absent(path)))) {
    throw new FileError("file_not_found", `${path} does not exist`);
  }
  await rm(folder.at(name), { recursive: true, force: true }).catch(rethrowFor(path));
}

export async function makeWorkspaceFolder(workspace: Workspace, path: string): Promise<void> {
  const folder = await openFolder(workspace, partsOf(path), { path, create: true });
  await folder[Symbol.asyncDispose]();
}

/** All entries below `path`, folders before what is in them, sorted; at most `limit`, and whether there are more. */
export async function listWorkspace(
  workspace: Workspace,
  path: string,
  limit: number,
): Promise<{ entries: FileEntry[]; more: boolean }> {
  const entries: FileEntry[] = [];
  for await (const entry of entriesBelow(workspace, path)) {
    if (entries.length === limit) return { entries, more: true };
    entries.push(entry);
  }
  return { entries, more: false };
}

/** What is in the folder `path` itself. */
export async function listFolder(workspace: Workspace, path: string): Promise<FileEntry[]> {
  const parts = partsOf(path);
  await using folder = await openFolder(workspace, parts, { path });
  return await entriesOf(folder, parts);
}

/** What `listWorkspace` lists, one by one. */
export async function* entriesBelow(workspace: Workspace, path: string): AsyncGenerator<FileEntry> {
  const parts = partsOf(path);
  await using folder = await openFolder(workspace, parts, { path });
  yield* walk(folder, parts);
}

/** Creates `path` and what is missing above it; readable by this user alone. */
export async function ensurePrivateFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
}

/** The folder that holds the file `path`, and its name there. Throws `is_directory` for the workspace itself. */
function nameOf(path: string): { folders: string[]; name: string } {
  const folders = partsOf(path);
  const name = folders.pop();
  if (name === undefined) throw new FileError("is_directory", `${path} is a directory`);
  return { folders, name };
}

async function replaceFile(
  folder: Folder,
  { name, path, content, mode }: { name: string; path: string; content: Uint8Array; mode: number },
): Promise<void> {
  const partial = folder.at(`.pawl-${randomUUID()}.tmp`);
  try {
    await using file = await open(partial, openFlags.create, mode);
    await file.writeFile(content);
    await file.sync();
    await rename(partial, folder.at(name));
  } catch (error) {
    await rm(partial, { force: true });
    rethrowFor(path)(error);
  }
}

async function requireRoom(
  workspace: Workspace,
  { path, name, size }: { path: string; name: string; size: number },
  policy: WorkspaceLimits,
): Promise<void> {
  if (size > policy.fileMb * megabyte) {
    throw new FileError("permission_denied", `${path} would be larger than ${policy.fileMb} MB`);
  }
  const usage = await usageOf(workspace, new Set([name]));
  const problem = excessOf({ bytes: usage.bytes + size, files: usage.files + 1 }, policy);
  if (problem) throw new FileError("permission_denied", problem);
}

export interface Usage {
  readonly bytes: number;
  /** Files and folders. */
  readonly files: number;
}

/** What the workspace holds, but for the files in `without` (by their paths relative to it). */
export async function usageOf(workspace: Workspace, without: ReadonlySet<string> = new Set()): Promise<Usage> {
  let [bytes, files] = [0, 0];
  for await (const entry of entriesBelow(workspace, ".")) {
    if (without.has(entry.path)) continue;
    bytes += entry.size;
    files++;
  }
  return { bytes, files };
}

/** In words, what is too much; undefined when nothing is. */
export function excessOf({ bytes, files }: Usage, policy: WorkspaceLimits): string | undefined {
  if (bytes > policy.workspaceMb * megabyte) return `The workspace would be larger than ${policy.workspaceMb} MB`;
  return files > policy.files ? `The workspace would hold more than ${policy.files} files` : undefined;
}

async function* walk(folder: Folder, parts: readonly string[]): AsyncGenerator<FileEntry> {
  for (const entry of await entriesOf(folder, parts)) {
    yield entry;
    if (entry.type !== "directory") continue;
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
    if (temporary.test(name)) continue;
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
