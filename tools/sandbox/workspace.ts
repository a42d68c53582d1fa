/** Where a thread keeps its files: one folder on our side, always `/workspace` on the guest's. */
import { rm, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { z } from "zod";
import { ensurePrivateFolder } from "./files.ts";

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

/** Another one for a folder that was deleted and made again under the same name: what holds the old one cannot reach it. */
export async function identityOf({ root }: Pick<Workspace, "root">): Promise<string> {
  const { dev, ino, birthtimeNs } = await stat(root, { bigint: true });
  return [root, dev, ino, birthtimeNs].join(":");
}

/** Deletes what the thread kept. Harmless when there is nothing. */
export async function removeWorkspace(dataDir: string, threadId: string): Promise<void> {
  await rm(rootOf(dataDir, threadId), { recursive: true, force: true });
}

/** Thread ids come from clients: only a UUID becomes part of a path. */
function rootOf(dataDir: string, threadId: string): string {
  return resolve(join(dataDir, "workspaces", tenant, z.guid().parse(threadId).toLowerCase()));
}
