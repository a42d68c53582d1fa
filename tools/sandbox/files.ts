/**
 * Reads and writes a thread's workspace without leaving it. Only regular files with one name are opened (a FIFO would
 * hang whoever reads it, a second name may be outside), each from its own folder (folder.ts).
 */
import { constants } from "node:fs";
import { lstat, open, rename, rm } from "node:fs/promises";
import { type Folder, openFolder } from "./folder.ts";
import { absent, FileError, partsOf, requireRegular, rethrowFor, temporaryName } from "./paths.ts";
import { excessOf, usageOf, type WorkspaceLimits } from "./usage.ts";
import type { Workspace } from "./workspace.ts";

const megabyte = 1_024 * 1_024;

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
  const partial = folder.at(temporaryName());
  try {
    await using file = await open(partial, openFlags.create, mode);
    await file.writeFile(content);
    await folder.giveToOwner(file);
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
  const usage = await usageOf([workspace.root], policy, new Set([name]));
  const problem = excessOf({ bytes: usage.bytes + size, files: usage.files + 1 }, policy);
  if (problem) throw new FileError("permission_denied", problem);
}
