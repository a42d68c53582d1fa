/** Folders of this machine, by their own paths: made private, and removed whole. */
import { execFile } from "node:child_process";
import { mkdir, rm } from "node:fs/promises";
import { promisify } from "node:util";

/** Creates `path` and what is missing above it; readable by this user alone. */
export async function ensurePrivateFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
}

/**
 * Deletes the folder `root` of this machine with all that is in it. A guest can nest folders so deep that their paths
 * are longer than the system takes, which Node gives up on and `rm` does not.
 */
export async function removeTree(root: string): Promise<void> {
  await rm(root, { recursive: true, force: true }).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== "ENAMETOOLONG") throw error;
    await promisify(execFile)("/bin/rm", ["-rf", "--", root], { env: {} });
  });
}
