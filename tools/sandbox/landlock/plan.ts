/** What a launcher is confined to: the folders of one guest, made ready, and the numbers of one policy. */
import { chmod, chown, mkdir, realpath, symlink } from "node:fs/promises";
import { join } from "node:path";
import { accountOf, giveTo, isOpenToOthers } from "../native/account.ts";
import { devices, type Interpreters, systemPaths } from "../native/interpreters.ts";
import { tasksOfUser } from "../native/processes.ts";
import { makeScratch } from "../scratch.ts";
import type { Policy } from "../types.ts";
import { identityOf, type Workspace } from "../workspace.ts";
import type { SeatPlan } from "./pool.ts";

/**
 * Without an account the kernel counts all tasks of our own user. So many may start beside a guest before it is refused
 * one; that a guest itself has no more than it may is looked at (native/run.ts).
 */
const slackTasks = 512;

/** What a launcher takes by itself, in a group with its guests: what it allocates after its start, and its threads. */
const launcherMb = 48;
const launcherTasks = 16;

export async function planFor(workspace: Workspace, policy: Policy, interpreters: Interpreters): Promise<SeatPlan> {
  const { openFiles, fileMb, procs, memMb, readable } = policy;
  return {
    key: JSON.stringify([await identityOf(workspace), openFiles, fileMb, procs, memMb, readable]),
    groupLimits: { memoryMb: memMb + launcherMb, tasks: procs + launcherTasks },
    async prepare() {
      const account = accountOf(workspace);
      const privateFolder = await makeScratch("guest");
      const folders = { workspace: join(privateFolder, "workspace"), temporary: join(privateFolder, "tmp") };
      await mkdir(folders.temporary, { mode: 0o700 });
      await chmod(privateFolder, 0o711);
      const root = await realpath(workspace.root);
      if (account !== undefined) {
        await chown(folders.temporary, account, account);
        await giveTo(account, root);
      }
      // Under root, the guest's account may have no way to the data folder.
      const isReachable = account === undefined || (await isOpenToOthers(root));
      if (isReachable) await symlink(root, folders.workspace);
      else await mkdir(folders.workspace);
      return {
        folders,
        privateFolder,
        confinement: {
          readable: [...systemPaths(), ...(interpreters.js ? [interpreters.js] : []), ...readable],
          writable: [isReachable ? root : folders.workspace, folders.temporary],
          devices: devices(),
          openFiles,
          fileMb,
          tasks: account === undefined ? tasksOfUser() + procs + slackTasks : procs,
          ...(account !== undefined && { account }),
          ...(!isReachable && { bind: { from: root, to: folders.workspace } }),
        },
      };
    },
  };
}
