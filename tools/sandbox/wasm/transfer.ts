/**
 * The workspace of a guest that reaches no file: copied in before the code runs, and what it changed copied out after.
 * Nothing that comes back is believed: paths, links and limits are those of any other write.
 */
import { PawlError } from "../../../lib/errors.ts";
import { deleteWorkspaceFile, makeWorkspaceFolder, readWorkspaceFile, writeWorkspaceFile } from "../files.ts";
import { entriesBelow } from "../listing.ts";
import { FileError, partsOf } from "../paths.ts";
import { inTurn } from "../turns.ts";
import type { Policy } from "../types.ts";
import { excessOf, usageOf } from "../usage.ts";
import type { Workspace } from "../workspace.ts";
import type { FileHead } from "./protocol.ts";

/** More than this is not copied for one call: a native sandbox works on the files where they are. */
export const maxTransferMb = 32;
const maxTransfer = maxTransferMb * 1_024 * 1_024;

export interface Copy {
  readonly folders: readonly string[];
  readonly files: readonly FileHead[];
  readonly contents: readonly Buffer[];
}

/** What a guest changed, by its own word. */
interface Changes extends Copy {
  readonly deleted: readonly string[];
}

/** Throws `sandbox_denied` for a workspace that is too large. Kept outputs of earlier runs and links stay out. */
export async function copyIn(workspace: Workspace): Promise<Copy> {
  const [folders, files, contents]: [string[], FileHead[], Buffer[]] = [[], [], []];
  let total = 0;
  for await (const { path, type } of entriesBelow(workspace, ".")) {
    if (path === ".out" || path.startsWith(".out/")) continue;
    if (type === "directory") folders.push(path);
    if (type !== "file") continue;
    const content = await readWorkspaceFile(workspace, path, maxTransfer - total).catch(missing);
    if (!content) continue;
    total += content.length;
    files.push({ path, size: content.length });
    contents.push(content);
  }
  return { folders, files, contents };
}

function missing(error: unknown): undefined {
  if (error instanceof FileError && error.code === "file_not_found") return undefined; // deleted meanwhile
  if (!(error instanceof FileError)) throw error;
  const reason = `The workspace cannot be copied into this sandbox, which takes regular files up to ${maxTransferMb} MB`;
  throw new PawlError("sandbox_denied", `${reason}: ${error.message}`);
}

/** Keeps what the guest changed. Returns, in words, what was not kept; then nothing was changed. */
export async function copyOut(workspace: Workspace, answer: Changes, policy: Policy): Promise<string | undefined> {
  if (answer.files.length + answer.folders.length + answer.deleted.length === 0) return undefined;
  return inTurn(workspace.root, () => apply(workspace, answer, policy));
}

async function apply(workspace: Workspace, answer: Changes, policy: Policy): Promise<string | undefined> {
  try {
    const problem = await obstacle(workspace, answer, policy);
    if (problem) return problem;
    for (const path of answer.deleted) await deleteWorkspaceFile(workspace, path).catch(alreadyGone);
    for (const path of answer.folders) await makeWorkspaceFolder(workspace, path);
    for (const [index, { path }] of answer.files.entries()) {
      await writeWorkspaceFile(workspace, { path, content: answer.contents[index]! }, policy);
    }
    return undefined;
  } catch (error) {
    if (error instanceof FileError) return error.message;
    throw error;
  }
}

async function obstacle(workspace: Workspace, answer: Changes, policy: Policy): Promise<string | undefined> {
  for (const path of [...answer.folders, ...answer.deleted, ...answer.files.map((file) => file.path)]) partsOf(path);
  const large = answer.files.find(({ size }) => size > policy.fileMb * 1_024 * 1_024);
  if (large) return `${large.path} is larger than ${policy.fileMb} MB`;
  const replaced = new Set([...answer.deleted, ...answer.folders, ...answer.files.map(({ path }) => path)]);
  const left = await usageOf([workspace.root], policy, replaced);
  const added = answer.files.reduce((sum, { size }) => sum + size, 0);
  const count = answer.files.length + answer.folders.length;
  return excessOf({ bytes: left.bytes + added, files: left.files + count }, policy);
}

function alreadyGone(error: unknown): void {
  if (!(error instanceof FileError && error.code === "file_not_found")) throw error;
}
