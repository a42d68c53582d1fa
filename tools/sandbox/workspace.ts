/** Where a thread keeps its files: one folder on our side, always `/workspace` on the guest's. */
import { join, resolve } from "node:path";
import { z } from "zod";
import { ensurePrivateFolder, removeTree } from "./files.ts";

/** Until tenants exist, all threads belong to this one. */
const tenant = "default";

export interface Workspace {
  readonly threadId: string;
  /** Absolute path on this machine; never shown to a guest or a model. */
  readonly root: string;
}

export async function openWorkspace(dataDir: string, threadId: string): Promise<Workspace> {
  const root = rootOf(dataDir, threadId);
  await ensurePrivateFolder(root);
  return { threadId, root };
}

/** Deletes what the thread kept. Harmless when there is nothing. */
export async function removeWorkspace(dataDir: string, threadId: string): Promise<void> {
  await removeTree(rootOf(dataDir, threadId));
}

/** Thread ids come from clients: only a UUID becomes part of a path. */
function rootOf(dataDir: string, threadId: string): string {
  return resolve(join(dataDir, "workspaces", tenant, z.guid().parse(threadId).toLowerCase()));
}
