/**
 * The folder of a thread as a copy of one version of its files: brought to the version that a step starts from, and
 * looked through for what a call did to it. By content, and by nothing that a guest can set: a file is read again
 * unless the system says that nobody has touched it since.
 *
 * Links, special files and what cannot be read are not part of a version.
 */
import { opendir, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  type FileVersions,
  globalsPath,
  hashOf,
  noFiles,
  type VersionEntry,
  versionOf,
} from "../../lib/file-versions.ts";
import { deleteWorkspaceFile, makeWorkspaceFolder, readWorkspaceFile, restoreWorkspaceFile } from "./files.ts";
import { entriesBelow, type FileEntry } from "./listing.ts";
import { FileError, partsOf } from "./paths.ts";
import { excessOf, type WorkspaceLimits } from "./usage.ts";
import type { Workspace } from "./workspace.ts";

/** A change within so many milliseconds of the last look may have the time of that look, so the file is read again. */
const clockGrainMs = 100;
/** Folders whose hashes are remembered. */
const maxRemembered = 256;

type Hashes = Map<string, { readonly stamp: string; readonly hash: string }>;

/** By folder. Only saves reading: what is not in it is read. */
const remembered = new Map<string, Hashes>();

/** Makes the folder what `version` says. Returns what is in the version and in no folder, for `keepVersion`. */
export async function restoreVersion(
  workspace: Workspace,
  files: FileVersions,
  version: string,
): Promise<VersionEntry[]> {
  const { entries, strays } = await look(workspace).catch((error: unknown) => emptied(workspace, error));
  if (versionOf(entries) === (version === noFiles ? versionOf([]) : version)) return [];
  const all = await files.entries(version);
  const inFolder = all.filter(({ path }) => path !== globalsPath);
  const wanted = new Map(inFolder.map((entry) => [entry.path, entry]));
  const found = new Map(entries.map((entry) => [entry.path, entry]));
  for (const path of [...strays, ...entries.filter((entry) => !isKind(entry, wanted.get(entry.path))).map(pathOf)]) {
    await deleteWorkspaceFile(workspace, path).catch(ifGone); // with the folder above it
  }
  for (const { path, hash, executable } of [...wanted.values()].toSorted(byPath)) {
    const is = found.get(path);
    if (hash === null) await makeWorkspaceFolder(workspace, path);
    else if (is?.hash !== hash || is.executable !== executable) {
      await restoreWorkspaceFile(workspace, { path, content: await files.content(hash), executable });
    }
  }
  return all.filter(({ path }) => path === globalsPath);
}

/** Keeps the folder as it is now, with `beside` it; returns the version. Throws `FileError` for one beyond the limits. */
export async function keepVersion(
  workspace: Workspace,
  files: FileVersions,
  { limits, beside }: { limits: WorkspaceLimits; beside: readonly VersionEntry[] },
): Promise<string> {
  const { entries } = await look(workspace);
  const bytes = entries.reduce((sum, { size }) => sum + size, 0);
  const largest = entries.find(({ size }) => size > limits.fileMb * 1_024 * 1_024);
  const problem = largest
    ? `${largest.path} is larger than ${limits.fileMb} MB`
    : excessOf({ bytes, files: entries.length }, limits);
  if (problem) throw new FileError("permission_denied", problem);
  const byHash = new Map(entries.flatMap(({ path, hash, size }) => (hash === null ? [] : [[hash, { path, size }]])));
  for (const hash of await files.missing([...byHash.keys()])) {
    const { path, size } = byHash.get(hash)!;
    const content = await readWorkspaceFile(workspace, path, size);
    if (hashOf(content) !== hash) throw new FileError("permission_denied", `${path} changes while it is being kept`);
    await files.addContent(hash, content);
  }
  return files.addVersion([...entries, ...beside]);
}

/** What is in the folder: what a version has, and the paths of all else. */
async function look(workspace: Workspace): Promise<{ entries: VersionEntry[]; strays: string[] }> {
  const [entries, strays]: [VersionEntry[], string[]] = [[], []];
  const [before, now]: [Hashes, Hashes] = [remembered.get(workspace.root) ?? new Map(), new Map()];
  const started = Date.now();
  for await (const entry of entriesBelow(workspace, ".")) {
    const { path, type, size, executable, stamp, changedMs } = entry;
    if (type === "directory" && isPath(path)) entries.push({ path, hash: null, size: 0, executable: false });
    if (type === "directory") continue;
    const known = before.get(path);
    const hash = known?.stamp === stamp ? known.hash : await hashOfFile(workspace, entry);
    if (hash === undefined) strays.push(path);
    else entries.push({ path, hash, size, executable });
    if (hash !== undefined && changedMs < started - clockGrainMs) now.set(path, { stamp, hash });
  }
  remembered.delete(workspace.root);
  remembered.set(workspace.root, now);
  if (remembered.size > maxRemembered) remembered.delete(remembered.keys().next().value!);
  return { entries, strays };
}

/** For a folder that cannot be looked through, since there is too much in it. */
async function emptied({ root }: Workspace, error: unknown): Promise<{ entries: VersionEntry[]; strays: string[] }> {
  if (!(error instanceof FileError)) throw error;
  // What is in it, and not itself: a sandbox's rules may name it.
  for await (const { name } of await opendir(root)) await rm(join(root, name), { recursive: true, force: true });
  return { entries: [], strays: [] };
}

/** Undefined for what is not a file that can be read. */
async function hashOfFile(workspace: Workspace, { path, type, size }: FileEntry): Promise<string | undefined> {
  if (type !== "file") return undefined;
  try {
    return hashOf(await readWorkspaceFile(workspace, path, size));
  } catch (error) {
    if (error instanceof FileError) return undefined;
    throw error;
  }
}

/** Whether an entry can become the wanted one without being removed first. */
function isKind(entry: VersionEntry, wanted: VersionEntry | undefined): boolean {
  return wanted !== undefined && (entry.hash === null) === (wanted.hash === null);
}

/** Not deeper than what is restored. */
function isPath(path: string): boolean {
  try {
    return partsOf(path).length > 0;
  } catch {
    return false;
  }
}

const pathOf = ({ path }: VersionEntry): string => path;
const byPath = (a: VersionEntry, b: VersionEntry): number => (a.path < b.path ? -1 : 1);

function ifGone(error: unknown): void {
  if (!(error instanceof FileError && (error.code === "file_not_found" || error.code === "invalid_path"))) throw error;
}
