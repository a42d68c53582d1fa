/** The data directory of the embedded Postgres: made once, whole or not at all. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm, stat } from "node:fs/promises";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { PawlError } from "../../lib/errors.ts";
import { type Account, spawnAs } from "./account.ts";
import type { Binaries } from "./binaries.ts";

/** The superuser of the embedded Postgres; the database is the one that initdb makes. */
export const OWNER = "pawl";

interface ClusterOptions {
  readonly directory: string;
  readonly account: Account;
  readonly binaries: Binaries;
  /** Leaves it to the operating system when files reach the disk. */
  readonly unsafe: boolean;
}

/** Makes the data directory unless it is there; refuses one of another major version. */
export async function ensureCluster(options: ClusterOptions): Promise<void> {
  const { directory, binaries, account } = options;
  if (!existsSync(join(directory, "PG_VERSION"))) await makeCluster(options);
  await giveTo(account, directory);
  const written = Number(readFileSync(join(directory, "PG_VERSION"), "utf8"));
  if (written !== binaries.majorVersion) {
    throw new PawlError(
      "bad_configuration",
      `${directory} was written by Postgres ${written}, and this Pawl brings Postgres ${binaries.majorVersion}: ` +
        `export the data with the Pawl that wrote it, or start with another PAWL_DATA_DIR`,
    );
  }
}

/** Makes it under another name first: neither a crash half-way nor a second process can leave a broken one. */
async function makeCluster({ directory, account, binaries, unsafe }: ClusterOptions): Promise<void> {
  const draft = await mkdtemp(`${directory}.new-`);
  try {
    await giveTo(account, draft);
    const child = spawnAs(
      account,
      [
        binaries.initdb,
        `--pgdata=${draft}`,
        `--username=${OWNER}`,
        // Whoever can enter the private folder of the socket is us.
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        // The same order and the same case rules on every machine, whatever its C library.
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        ...(unsafe ? ["--no-sync"] : []),
      ],
      binaries.env,
    );
    const [complaints, [code]] = await Promise.all([text(child.stderr), once(child, "close")]);
    if (code !== 0) {
      throw new PawlError("bad_configuration", `Could not make a database under ${directory}: ${complaints.trim()}`);
    }
    await rename(draft, directory);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    if (!existsSync(join(directory, "PG_VERSION"))) throw error; // else another process was faster
  }
}

/** A private folder for `account`. */
export async function ensurePrivateFolder(folder: string, account: Account): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await giveTo(account, folder);
}

async function giveTo(account: Account, folder: string): Promise<void> {
  const { uid } = await stat(folder);
  if (uid === account.uid) return;
  const { status, stderr } = spawnSync("chown", ["-R", `${account.uid}:${account.gid}`, folder], { encoding: "utf8" });
  if (status === 0) return;
  throw new PawlError(
    "bad_configuration",
    `${folder} belongs to the user with id ${uid}: start Pawl as that user, or set PAWL_DATA_DIR (${stderr.trim()})`,
  );
}
