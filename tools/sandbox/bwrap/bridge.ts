/**
 * For a server run by root whose data folder is closed to others (a home, or just the folders above a workspace): the
 * account that starts bwrap has no way to the workspace. Root shows it to that account in another place, which only
 * this one command sees, and then gives itself up.
 */
import type { Command } from "../native/command.ts";
import { findProgram } from "../native/interpreters.ts";
import { Refusal } from "../native/refusal.ts";

/** There on every system by the Filesystem Hierarchy Standard, and of no use to bwrap. */
export const bridge = "/mnt";

const script = [
  'mount --bind "$1" "$2"',
  'mount -o remount,bind,nosuid,nodev "$2"',
  "account=$3",
  "shift 3",
  'exec setpriv --reuid "$account" --regid "$account" --clear-groups "$@"',
].join(" && ");

/** `command`, with the folder `root` at `bridge`. Throws `Refusal` where util-linux is missing. */
export function throughBridge({ command, args }: Command, root: string, account: number | undefined): Command {
  const [unshare, shell] = [findProgram("unshare"), findProgram("sh")];
  if (!unshare || !shell || !findProgram("setpriv") || account === undefined)
    throw new Refusal("The user of the sandbox has no way to the data folder");
  const path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
  return {
    command: unshare,
    args: [
      "--mount",
      shell,
      "-c",
      `${path}; ${script} || exit 126`,
      "sh",
      root,
      bridge,
      String(account),
      command,
      ...args,
    ],
  };
}
