/** What a container may do, in the words of Docker's command line, which Podman shares. */
import type { Policy } from "../types.ts";
import type { Command } from "../native/command.ts";
import { guestRoot } from "../paths.ts";

interface Box {
  /** Unknown to the guest, and the name by which it is killed. */
  readonly name: string;
  readonly image: string;
  /** Absolute path on this machine. */
  readonly workspace: string;
  readonly cwd: string;
  readonly user: { readonly uid: number; readonly gid: number };
  readonly env: Readonly<Record<string, string>>;
  readonly policy: Pick<Policy, "memMb" | "procs" | "openFiles" | "fileMb">;
  /** A file of this machine, for the engine. */
  readonly seccompProfile: string;
  /** Nobody else has this user id: then the kernel's count of its tasks is the guest's. */
  readonly isOwnUser: boolean;
  /** Rootless Podman maps our own user to root inside unless told otherwise. */
  readonly keepsUser: boolean;
}

/** Of `/tmp`. It counts as memory. */
const temporaryMb = 64;

export function runArguments(box: Box, { command, args }: Command): string[] {
  const { name, image, workspace, cwd, user, env, policy, seccompProfile, isOwnUser, keepsUser } = box;
  const memory = `${policy.memMb}m`;
  const fileBytes = policy.fileMb * 1_024 * 1_024;
  return [
    ["run", "--rm", "--interactive", "--name", name, "--pull", "never", "--init"],
    ["--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"],
    ["--security-opt", `seccomp=${seccompProfile}`],
    ["--pids-limit", String(policy.procs + 1), "--memory", memory, "--memory-swap", memory, "--cpus", "1"],
    isOwnUser ? ["--ulimit", `nproc=${policy.procs + 1}`] : [],
    ["--ulimit", `nofile=${policy.openFiles}`, "--ulimit", `fsize=${fileBytes}`, "--ulimit", "core=0"],
    ["--user", `${user.uid}:${user.gid}`, ...(keepsUser ? ["--userns", "keep-id"] : [])],
    ["--tmpfs", `/tmp:rw,nosuid,nodev,size=${temporaryMb}m`, "--hostname", "sandbox"],
    ["--mount", `type=bind,source=${workspace},target=${guestRoot}`, "--workdir", cwd],
    Object.entries(env).flatMap(([key, value]) => ["--env", `${key}=${value}`]),
    ["--entrypoint", command, image, ...args],
  ].flat();
}
