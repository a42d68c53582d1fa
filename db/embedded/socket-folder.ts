/**
 * Where the Unix socket of the embedded Postgres lies: beside the data, or under the system's folder for temporary
 * files when that path is too long for a socket address.
 */
import { createHash } from "node:crypto";
import { lstat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PawlError } from "../../lib/errors.ts";
import type { Account } from "./account.ts";
import { ensurePrivateFolder } from "./cluster.ts";

/** Names the socket file; nothing listens on TCP. */
export const PORT = 5432;

/** `sun_path` has 108 bytes on Linux and 104 on macOS, one of them for the final zero. */
const LONGEST_ADDRESS = 103;

/** A folder that `account` alone can enter. */
export async function socketFolder(stateFolder: string, account: Account): Promise<string> {
  const beside = join(stateFolder, "run");
  const folder = fits(beside) ? beside : join(tmpdir(), `pawl-${account.uid}-${digest(stateFolder)}`);
  await ensurePrivateFolder(folder, account);
  // Under a folder that everybody can write to, somebody else may have put theirs there first.
  const { uid, mode } = await lstat(folder);
  if (uid === account.uid && (mode & 0o077) === 0) return folder;
  throw new PawlError("bad_configuration", `${folder} is not private to the user who runs Postgres: remove it`);
}

function fits(folder: string): boolean {
  return Buffer.byteLength(join(folder, `.s.PGSQL.${PORT}`)) <= LONGEST_ADDRESS;
}

function digest(path: string): string {
  return createHash("sha256").update(path).digest("hex").slice(0, 12);
}
