/**
 * Under root, each workspace has a user id of its own: what gets out of a sandbox is nobody, the kernel's count of
 * processes is exact, and no two threads can touch each other's files. Otherwise guests have our own user id.
 */
import { createHash } from "node:crypto";
import { constants, readFileSync } from "node:fs";
import { lchown, lstat, open, readdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { Workspace } from "../workspace.ts";

/** Ids that neither distributions, systemd, containers nor directories give out (systemd's UIDS-GIDS.md). */
const wide = { first: 0x7000_0000, count: 0x1000_0000 };
/** Inside a container whose user namespace maps only 65,536 ids. */
const narrow = { first: 61_184, count: 4_000 };

/** The same for a workspace each time, in each process and on each machine. Undefined when we are not root. */
export function accountOf({ threadId }: Pick<Workspace, "threadId">): number | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const range = mappedIds() > wide.first + wide.count ? wide : narrow;
  return range.first + (createHash("sha256").update(threadId).digest().readUInt32BE() % range.count);
}

function mappedIds(): number {
  const [, , count] = readFileSync("/proc/self/uid_map", "latin1").trim().split(/\s+/).map(Number);
  return count ?? 0;
}

const folderFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/**
 * Gives `path` and what is below it to `account`, as far as root owns it: what our own side wrote before the first guest
 * (what it writes later, folder.ts gives away).
 * Each name is looked up in the folder that is open, so that a guest that swaps a folder for a link gains nothing.
 */
export async function giveTo(account: number, path: string): Promise<void> {
  const handle = await open(path, folderFlags);
  try {
    const here = `/proc/self/fd/${handle.fd}`;
    if ((await handle.stat()).uid === 0) await handle.chown(account, account);
    for (const entry of await readdir(here, { withFileTypes: true })) {
      const inside = `${here}/${entry.name}`;
      if (entry.isDirectory()) await giveTo(account, inside);
      else if (await isOurs(inside)) await lchown(inside, account, account);
    }
  } finally {
    await handle.close();
  }
}

/** A file of root's with a second name is not ours: no guest can make one, and we make none. */
async function isOurs(path: string): Promise<boolean> {
  const { uid, nlink } = await lstat(path);
  return uid === 0 && nlink === 1;
}

/** Whether an account that owns `path` can get to it: each folder above lets others through. */
export async function isOpenToOthers(path: string): Promise<boolean> {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    if (((await stat(folder)).mode & constants.S_IXOTH) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}
