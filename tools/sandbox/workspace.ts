/** Where a thread keeps its files: one folder on our side, always `/workspace` on the guest's. */
import { readdir, stat, utimes } from "node:fs/promises";
import { join, resolve } from "node:path";
import { z } from "zod";
import { ensurePrivateFolder, removeTree } from "./machine-folders.ts";

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
  await utimes(root, new Date(), new Date()); // it is in use, see `idleWorkspaces`
  return { threadId, root };
}

/** The threads that have a folder in which nothing was done since `before`. */
export async function idleWorkspaces(dataDir: string, before: Date): Promise<string[]> {
  const parent = join(dataDir, "workspaces", tenant);
  const idle: string[] = [];
  for (const name of await readdir(parent).catch(() => [])) {
    const stats = await stat(join(parent, name)).catch(() => undefined);
    if (z.guid().safeParse(name).success && stats && stats.mtime < before) idle.push(name);
  }
  return idle;
}

/** Another one for a folder that was deleted and made again under the same name: what holds the old one cannot reach it. */
export async function identityOf({ root }: Pick<Workspace, "root">): Promise<string> {
  const { dev, ino, birthtimeNs } = await stat(root, { bigint: true });
  return [root, dev, ino, birthtimeNs].join(":");
}

/** Deletes what the thread kept. Harmless when there is nothing. */
export async function removeWorkspace(dataDir: string, threadId: string): Promise<void> {
  await removeTree(rootOf(dataDir, threadId));
}

/** Thread ids come from clients: only a UUID becomes part of a path. */
function rootOf(dataDir: string, threadId: string): string {
  return resolve(join(dataDir, "workspaces", tenant, z.guid().parse(threadId).toLowerCase()));
}
