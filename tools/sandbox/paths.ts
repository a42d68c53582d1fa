/**
 * Paths of a workspace, made safe: what a guest wrote becomes components below the root, and no component is a
 * symbolic link, wherever it points: only a tool writes here, so one that exists was planted.
 */
import { randomUUID } from "node:crypto";
import type { Stats } from "node:fs";
import { posix } from "node:path";

/** The codes of deepagents' `FileOperationError`. */
export type FileErrorCode = "file_not_found" | "permission_denied" | "is_directory" | "invalid_path";

/** Carries the guest's path, never ours. */
export class FileError extends Error {
  override readonly name = "FileError";
  readonly code: FileErrorCode;

  constructor(code: FileErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

export const guestRoot = "/workspace";
/** Keeps one write from creating more folders than the cap on their number could notice. */
export const maxDepth = 32;

/** The components of `path` below the workspace. Throws `invalid_path` for one that is, or could be, outside. */
export function partsOf(path: string): string[] {
  if (path.includes("\0")) throw new FileError("invalid_path", "A path cannot contain U+0000");
  const inside = path === guestRoot || path.startsWith(`${guestRoot}/`) ? path.slice(guestRoot.length + 1) : path;
  const parts = inside.split("/").filter((part) => part !== "" && part !== ".");
  if (posix.isAbsolute(inside) || parts.includes("..")) {
    throw new FileError("invalid_path", `${path} is not inside ${guestRoot}`);
  }
  if (parts.length > maxDepth) throw new FileError("invalid_path", `${path} has more than ${maxDepth} parts`);
  return parts;
}

/** A name for a file of ours that is not whole yet. */
export const temporaryName = (): string => `.pawl-${randomUUID()}.tmp`;

export const isTemporaryName = (name: string): boolean => /^\.pawl-[0-9a-f-]{36}\.tmp$/.test(name);

export function requireRegular(stats: Stats, path: string): void {
  if (stats.isDirectory()) throw new FileError("is_directory", `${path} is a directory`);
  // More than one name: the other one may be outside.
  if (!stats.isFile() || stats.nlink > 1) throw new FileError("permission_denied", `${path} is not a regular file`);
}

const codeOf: Readonly<Record<string, FileErrorCode>> = {
  ENOENT: "file_not_found",
  EISDIR: "is_directory",
  ENOTDIR: "invalid_path",
  ENAMETOOLONG: "invalid_path",
  ELOOP: "permission_denied",
  EACCES: "permission_denied",
  EPERM: "permission_denied",
  ENXIO: "permission_denied", // a socket, or a FIFO without a reader
};

const problems: Readonly<Record<FileErrorCode, string>> = {
  file_not_found: "does not exist",
  permission_denied: "is not a regular file",
  is_directory: "is a directory",
  invalid_path: "is not a path of a file",
};

/** The system's message names our path, so it is replaced. */
export function rethrowFor(path: string): (error: unknown) => never {
  return (error) => {
    const code = codeOf[(error as NodeJS.ErrnoException).code ?? ""];
    throw code ? new FileError(code, `${path} ${problems[code]}`) : error;
  };
}

/** For a `catch`: undefined when the file is not there. */
export function absent(path: string): (error: unknown) => undefined {
  return (error) => ((error as NodeJS.ErrnoException).code === "ENOENT" ? undefined : rethrowFor(path)(error));
}
