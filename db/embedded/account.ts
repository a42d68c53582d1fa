/**
 * Under which account Postgres runs: it refuses to run as root, and as anyone else it may not reach our folders.
 *
 * An ordinary user runs it as itself. Root maps itself to an unprivileged id in a user namespace of its own, which
 * leaves files reachable that only root can reach and needs no account to be added; where the kernel forbids
 * namespaces, the account `nobody` runs it, to which each folder on the way must be open.
 */
import { execFile, spawn, type ChildProcessByStdio } from "node:child_process";
import type { Readable } from "node:stream";
import { promisify } from "node:util";
import { PawlError } from "../../lib/errors.ts";

const run = promisify(execFile);

const PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/** Output of a command whose standard error is what it has to say. */
export type Child = ChildProcessByStdio<null, null, Readable>;

export interface Account {
  /** Who owns the files that this account writes, as seen from our process. */
  readonly uid: number;
  readonly gid: number;
  /** What stands before each command. */
  readonly prefix: readonly string[];
  /** The ids that the command is given when it is started, where the prefix does not do it. */
  readonly spawnAs: { readonly uid?: number; readonly gid?: number };
}

/** The account that can enter `folder`; `bad_configuration` when there is none. */
export async function chooseAccount(folder: string): Promise<Account> {
  const uid = process.getuid?.() ?? -1;
  if (uid !== 0) return { uid, gid: process.getgid?.() ?? -1, prefix: [], spawnAs: {} };
  const nobody = await idsOfNobody();
  const mapped: Account = {
    uid: 0,
    gid: 0,
    prefix: ["unshare", "--user", `--map-user=${nobody.uid}`, `--map-group=${nobody.gid}`, "--"],
    spawnAs: {},
  };
  if (await canPass(mapped, folder)) return mapped;
  const unprivileged: Account = { ...nobody, prefix: [], spawnAs: nobody };
  if (await canPass(unprivileged, folder)) return unprivileged;
  throw new PawlError(
    "bad_configuration",
    `Postgres does not run as root, and here neither a user namespace nor the user "nobody" can enter ${folder}: start ` +
      `Pawl as an ordinary user, set PAWL_DATA_DIR to a folder that every user can enter, or set DATABASE_URL`,
  );
}

/** Whether `account` may execute the program, or enter the folder, at `path`. */
export async function canPass(account: Account, path: string): Promise<boolean> {
  const [program, args] = asAccount(account, ["test", "-x", path]);
  return run(program, args, { ...account.spawnAs, cwd: "/", env: { PATH } }).then(
    () => true,
    () => false,
  );
}

/** Starts `command` as `account`, with an environment of its own, out of reach of the terminal's Ctrl-C. */
export function spawnAs(account: Account, command: readonly string[], env: Readonly<Record<string, string>>): Child {
  const [program, args] = asAccount(account, command);
  return spawn(program, args, {
    ...account.spawnAs,
    cwd: "/",
    env: { ...env, PATH, LC_ALL: "C", TZ: "UTC" },
    stdio: ["ignore", "ignore", "pipe"],
    // A group of its own: Ctrl-C would reach Postgres before the server has drained its runs.
    detached: true,
  });
}

function asAccount({ prefix }: Account, command: readonly string[]): [program: string, args: string[]] {
  const [program = "", ...args] = [...prefix, ...command];
  return [program, args];
}

/** `nobody` and not any free id: initdb looks up the name of whoever runs it. */
async function idsOfNobody(): Promise<{ uid: number; gid: number }> {
  try {
    const [uid, gid] = await Promise.all(["-u", "-g"].map((kind) => run("id", [kind, "nobody"], { env: { PATH } })));
    return { uid: Number(uid?.stdout), gid: Number(gid?.stdout) };
  } catch (cause) {
    throw new PawlError(
      "bad_configuration",
      'Postgres does not run as root, and there is no user "nobody" to run it: start Pawl as an ordinary user, or set DATABASE_URL',
      { cause },
    );
  }
}
