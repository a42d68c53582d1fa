/**
 * The files of a workspace as deepagents' agents, and our own file tools, use them. What goes wrong is an `error` in
 * the result, by the guest's path.
 */
import type { EditResult, FileBackend, ReadResult } from "./backend.ts";
import { deleteWorkspaceFile, readWithTime, readWorkspaceFile, writeWorkspaceFile } from "./files.ts";
import { listFolder } from "./listing.ts";
import { FileError, guestRoot } from "./paths.ts";
import { findFiles, infoOf, isText, searchFiles } from "./search.ts";
import { inTurn } from "./turns.ts";
import type { WorkspaceLimits } from "./usage.ts";
import type { Workspace } from "./workspace.ts";

/** Lines of one `read`, as deepagents has it. */
const defaultLines = 500;
export function createFileBackend(workspace: Workspace, limits: WorkspaceLimits): FileBackend {
  const maxBytes = limits.fileMb * 1_024 * 1_024;
  const read = (path: string): Promise<Buffer> => readWorkspaceFile(workspace, path, maxBytes);
  const write = (path: string, content: Uint8Array): Promise<void> =>
    writeWorkspaceFile(workspace, { path, content }, limits);
  const change = <T>(work: () => Promise<T>): Promise<T> => inTurn(workspace.root, work);
  return {
    ls: (path) =>
      orError(async () => {
        if (path === "/") return { files: [{ path: guestRoot, is_dir: true }] };
        return { files: (await listFolder(workspace, path)).map(infoOf) };
      }),
    read: (path, offset = 0, limit = defaultLines) =>
      orError(async () => {
        const bytes = await read(path);
        return isText(bytes)
          ? linesOf(bytes.toString(), Math.max(0, Math.trunc(offset)), Math.max(1, Math.trunc(limit)))
          : { content: new Uint8Array(bytes), mimeType: binaryType };
      }),
    readRaw: (path) =>
      orError(async () => {
        const { bytes, modifiedAt } = await readWithTime(workspace, path, maxBytes);
        const at = modifiedAt.toISOString();
        const kind = isText(bytes)
          ? { content: bytes.toString(), mimeType: textType }
          : { content: new Uint8Array(bytes), mimeType: binaryType };
        return { data: { ...kind, created_at: at, modified_at: at } };
      }),
    write: (path, content) =>
      orError(async () => {
        await change(() => write(path, Buffer.from(content)));
        return { path };
      }),
    // oxlint-disable-next-line max-params -- deepagents' signature
    edit: (path, oldString, newString, replaceAll = false) =>
      orError<EditResult>(() =>
        change(async () => {
          const bytes = await read(path);
          if (!isText(bytes)) return { error: `permission_denied: ${path} is not a text file` };
          const edited = replaced(bytes.toString(), { oldString, newString, replaceAll });
          if ("error" in edited) return { error: `${edited.error} in ${path}` };
          await write(path, Buffer.from(edited.text));
          return { path, occurrences: edited.occurrences };
        }),
      ),
    // oxlint-disable-next-line max-params -- deepagents' signature
    grep: (pattern, path, glob, maxCount) =>
      orError(() => searchFiles(workspace, { pattern, path: path ?? guestRoot, glob, maxCount })),
    glob: (pattern, path) => orError(() => findFiles(workspace, pattern, path ?? guestRoot)),
    delete: (path) =>
      orError(async () => {
        await change(() => deleteWorkspaceFile(workspace, path));
        return { path };
      }),
    uploadFiles: (files) =>
      Promise.all(
        files.map(async ([path, content]) => ({ path, error: await codeOf(() => change(() => write(path, content))) })),
      ),
    downloadFiles: (paths) =>
      Promise.all(
        paths.map(async (path) => {
          let content: Uint8Array | null = null;
          const error = await codeOf(async () => void (content = await read(path)));
          return { path, content, error };
        }),
      ),
  };
}

const textType = "text/plain";
const binaryType = "application/octet-stream";

function linesOf(text: string, offset: number, limit: number): ReadResult {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop(); // a newline ends a line, it does not begin one
  if (offset > 0 && offset >= lines.length) {
    return { error: `invalid_path: offset ${offset} is past the end (${lines.length} lines)` };
  }
  const page = lines.slice(offset, offset + limit);
  const end = offset + page.length;
  const isAll = offset === 0 && end === lines.length;
  return {
    content: isAll ? text : page.join("\n"),
    mimeType: textType,
    totalLines: lines.length,
    startLine: offset + 1,
    endLine: end,
    ...(end < lines.length && { nextOffset: end }),
  };
}

function replaced(
  text: string,
  { oldString, newString, replaceAll }: { oldString: string; newString: string; replaceAll: boolean },
): { text: string; occurrences: number } | { error: string } {
  if (oldString === "") return { error: "The text to replace is empty" };
  const pieces = text.split(oldString);
  const occurrences = pieces.length - 1;
  if (occurrences === 0) return { error: "The text to replace was not found" };
  if (occurrences > 1 && !replaceAll) {
    return { error: `The text to replace occurs ${occurrences} times, so it is not clear which is meant` };
  }
  return { text: pieces.join(newString), occurrences };
}

async function orError<T extends object>(work: () => Promise<T>): Promise<T | { error: string }> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof FileError) return { error: `${error.code}: ${error.message}` };
    throw error;
  }
}

async function codeOf(work: () => Promise<void>): Promise<FileError["code"] | null> {
  try {
    await work();
    return null;
  } catch (error) {
    if (error instanceof FileError) return error.code;
    throw error;
  }
}
