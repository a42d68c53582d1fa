/** Searches a workspace by name (`glob`) and by text (`grep`); paths in the results are the guest's. */
import { isUtf8 } from "node:buffer";
import type { FileInfo, GlobResult, GrepMatch, GrepResult } from "./backend.ts";
import { readWorkspaceFile } from "./files.ts";
import { matchesGlob } from "./glob.ts";
import { entriesBelow, type FileEntry, listFolder } from "./listing.ts";
import { FileError, guestRoot, partsOf } from "./paths.ts";
import type { Workspace } from "./workspace.ts";

/** Entries of one `glob`, matches of one `grep`. */
const maxFound = 1_000;
/** `grep` looks into files up to this size, and this much of all together. */
const maxSearchedFile = 4 * 1_024 * 1_024;
const maxSearched = 64 * 1_024 * 1_024;

export const isText = (bytes: Buffer): boolean => isUtf8(bytes) && !bytes.includes(0);

export function infoOf({ path, type, size, modifiedAt }: FileEntry): FileInfo {
  return { path: `${guestRoot}/${path}`, is_dir: type === "directory", size, modified_at: modifiedAt.toISOString() };
}

/** Files below the folder `path` whose path there matches `pattern`. */
export async function findFiles(workspace: Workspace, pattern: string, path: string): Promise<GlobResult> {
  const base = partsOf(path).join("/");
  const wanted = partsOf(pattern).join("/");
  const files: FileInfo[] = [];
  for await (const entry of entriesBelow(workspace, path)) {
    if (entry.type === "directory" || !matchesGlob(entry.path.slice(base === "" ? 0 : base.length + 1), wanted))
      continue;
    if (files.length === maxFound) return { files, truncated: true };
    files.push(infoOf(entry));
  }
  return { files };
}

/** Lines that contain `pattern`, which is a text and no expression, in files whose name or path matches `glob`. */
export async function searchFiles(
  workspace: Workspace,
  {
    pattern,
    path,
    glob,
    maxCount,
  }: { pattern: string; path: string; glob?: string | null | undefined; maxCount: number | null | undefined },
): Promise<GrepResult> {
  if (pattern === "") return { error: "The text to look for is empty" };
  const matches: GrepMatch[] = [];
  const limit = Math.min(Math.max(1, maxCount ?? maxFound), maxFound);
  let searched = 0;
  for await (const file of filesAt(workspace, path)) {
    if (glob && !matchesGlob(glob.includes("/") ? file.path : file.path.split("/").at(-1)!, glob)) continue;
    if (file.size > maxSearchedFile) continue;
    if ((searched += file.size) > maxSearched) return { matches, truncated: true };
    const bytes = await readWorkspaceFile(workspace, file.path, maxSearchedFile).catch(ignoreFileError);
    if (!bytes || !isText(bytes)) continue;
    for (const [index, text] of bytes.toString().split("\n").entries()) {
      if (!text.includes(pattern)) continue;
      if (matches.length === limit) return { matches, truncated: true };
      matches.push({ path: `${guestRoot}/${file.path}`, line: index + 1, text });
    }
  }
  return { matches };
}

/** The file `path`, or the files below the folder `path`. */
async function* filesAt(workspace: Workspace, path: string): AsyncGenerator<Pick<FileEntry, "path" | "size">> {
  const parts = partsOf(path);
  const name = parts.at(-1);
  if (name !== undefined) {
    const siblings = await listFolder(workspace, parts.slice(0, -1).join("/"));
    const file = siblings.find((entry) => entry.path === parts.join("/"));
    if (file?.type === "file") return yield file;
  }
  for await (const entry of entriesBelow(workspace, path)) if (entry.type === "file") yield entry;
}

function ignoreFileError(error: unknown): undefined {
  if (error instanceof FileError) return undefined; // removed meanwhile, or not a regular file
  throw error;
}
