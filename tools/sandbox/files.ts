/**
 * Reads and writes a thread's workspace without leaving it, for hosts where no kernel does that check. Only regular
 * files are opened (a FIFO would hang whoever reads it), and only after each component of the path was looked at.
 */
import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { lstat, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { absent, FileError, partsOf, requireRegular, rethrowFor, statOf } from "./paths.ts";
import type { Policy } from "./types.ts";
import type { Workspace } from "./workspace.ts";

export interface FileEntry {
  /** Relative to the workspace. */
  readonly path: string;
  readonly type: "file" | "directory" | "other";
  readonly size: number;
}

const megabyte = 1_024 * 1_024;

/** Our own unfinished writes; never listed. */
const temporary = /^\.pawl-[0-9a-f-]{36}\.tmp$/;

/** Throws `FileError`. `maxBytes` bounds what is read into memory. */
export async function readWorkspaceFile(workspace: Workspace, path: string, maxBytes: number): Promise<Buffer> {
  const parts = partsOf(path);
  await checkFolders(workspace, parts.slice(0, -1), path);
  const file = await open(join(workspace.root, ...parts), openFlags.read).catch(rethrowFor(path));
  try {
    requireRegular(await file.stat(), path);
    const buffer = Buffer.alloc(maxBytes + 1);
    const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
    if (bytesRead > maxBytes) throw new FileError("permission_denied", `${path} is larger than ${maxBytes} bytes`);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** Creates or replaces a file, and the folders above it. All or nothing: a reader sees the old file or the new one. */
export async function writeWorkspaceFile(
  workspace: Workspace,
  { path, content }: { path: string; content: Buffer },
  policy: Pick<Policy, "fileMb" | "workspaceMb" | "files">,
): Promise<void> {
  const parts = partsOf(path);
  if (parts.length === 0) throw new FileError("is_directory", `${path} is a directory`);
  const existing = await statOf(workspace, parts, path);
  if (existing) requireRegular(existing, path);
  await requireRoom(workspace, { path, name: parts.join("/"), size: content.length }, policy);
  await ensureFolders(workspace, parts.slice(0, -1), path);
  const target = join(workspace.root, ...parts);
  const partial = join(dirname(target), `.pawl-${randomUUID()}.tmp`);
  try {
    const file = await open(partial, openFlags.create, 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, target);
  } catch (error) {
    await rm(partial, { force: true });
    rethrowFor(path)(error);
  }
}

/** All entries below `path`, folders before what is in them, sorted; at most `limit`, and whether there are more. */
export async function listWorkspace(
  workspace: Workspace,
  path: string,
  limit: number,
): Promise<{ entries: FileEntry[]; more: boolean }> {
  const parts = partsOf(path);
  const top = await statOf(workspace, parts, path);
  if (!top) throw new FileError("file_not_found", `${path} does not exist`);
  if (!top.isDirectory()) throw new FileError("invalid_path", `${path} is not a directory`);
  const entries: FileEntry[] = [];
  for await (const entry of walk(workspace, parts)) {
    if (entries.length === limit) return { entries, more: true };
    entries.push(entry);
  }
  return { entries, more: false };
}

/** Creates `path` and what is missing above it; readable by this user alone. */
export async function ensurePrivateFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
}

const openFlags = {
  // O_NONBLOCK: opening a FIFO returns at once, and fstat then shows what it is.
  read: constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
  create: constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
};

/** Throws unless each folder exists and is one. */
async function checkFolders(workspace: Workspace, folders: readonly string[], path: string): Promise<void> {
  const parent = await statOf(workspace, folders, path);
  if (!parent) throw new FileError("file_not_found", `${path} does not exist`);
  if (!parent.isDirectory())
    throw new FileError("invalid_path", `${path} goes through something that is not a directory`);
}

async function ensureFolders(workspace: Workspace, folders: readonly string[], path: string): Promise<void> {
  for (let depth = 1; depth <= folders.length; depth++) {
    const folder = folders.slice(0, depth);
    if (!(await statOf(workspace, folder, path)))
      await mkdir(join(workspace.root, ...folder), 0o700).catch(rethrowFor(path));
  }
}

async function requireRoom(
  workspace: Workspace,
  write: { path: string; name: string; size: number },
  policy: Pick<Policy, "fileMb" | "workspaceMb" | "files">,
): Promise<void> {
  const { path, name, size } = write;
  if (size > policy.fileMb * megabyte) {
    throw new FileError("permission_denied", `${path} would be larger than ${policy.fileMb} MB`);
  }
  let [total, count] = [size, 1];
  for await (const entry of walk(workspace, [])) {
    if (entry.path === name) continue; // it will be replaced
    total += entry.size;
    count++;
  }
  if (total > policy.workspaceMb * megabyte) {
    throw new FileError("permission_denied", `The workspace would be larger than ${policy.workspaceMb} MB`);
  }
  if (count > policy.files)
    throw new FileError("permission_denied", `The workspace holds ${policy.files} files already`);
}

async function* walk(workspace: Workspace, parts: readonly string[]): AsyncGenerator<FileEntry> {
  const names = (await readdir(join(workspace.root, ...parts))).filter((name) => !temporary.test(name)).sort();
  for (const name of names) {
    const inside = [...parts, name];
    const stats = await lstat(join(workspace.root, ...inside)).catch(absent(name));
    if (!stats) continue; // removed meanwhile
    const type = stats.isFile() ? "file" : stats.isDirectory() ? "directory" : "other";
    yield { path: inside.join("/"), type, size: type === "file" ? stats.size : 0 };
    if (type === "directory") yield* walk(workspace, inside);
  }
}
