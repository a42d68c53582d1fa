/**
 * The machine's own `sh`, `python3` and Node, on Linux, with what comes from npm alone: a launcher (launcher.ts) that
 * gave up all rights starts them. Files by Landlock, system calls by seccomp, amounts by resource limits and by
 * looking; under root with a user id for each workspace.
 */
import { join } from "node:path";
import { PawlError } from "../../../lib/errors.ts";
import { groupsHere } from "../cgroup/groups.ts";
import { commandFor, environmentOf } from "../native/command.ts";
import { findInterpreters, type Interpreters, languagesOf } from "../native/interpreters.ts";
import { probeNative } from "../native/probe.ts";
import { refused } from "../native/refusal.ts";
import { runGuest } from "../native/run.ts";
import { guestRoot, partsOf } from "../paths.ts";
import { createSession } from "../session.ts";
import type { Policy, RunRequest, RunResult, Session, ToolExecutor } from "../types.ts";
import type { Workspace } from "../workspace.ts";
import { toHost } from "./guest-paths.ts";
import { planFor } from "./plan.ts";
import { LauncherPool, type Seat } from "./pool.ts";

export function createLandlockExecutor(): ToolExecutor {
  const pool = new LauncherPool();
  const interpreters = findInterpreters();
  const open = async (workspace: Workspace, policy: Policy): Promise<Session> => {
    if (!interpreters) throw new PawlError("sandbox_denied", "This machine has no sh");
    if (policy.network.allow.length > 0) throw new PawlError("sandbox_denied", noNetwork);
    const context = { workspace, policy, pool, interpreters };
    return createSession({ isolation: "landlock", workspace, policy, run: (request) => run(request, context) });
  };
  return {
    kind: "landlock",
    probe: async (language) => {
      const languages = interpreters ? languagesOf(interpreters) : [];
      const capabilities = await probeNative(open, language ? languages.filter((one) => one === language) : languages);
      return capabilities.available ? { ...capabilities, detail: (await groupsHere()).detail } : capabilities;
    },
    open,
    close: () => pool.close(),
  };
}

/** A guest could send what it reads to a machine of its choice that listens on that port. */
const noNetwork = "Landlock's rules name ports and not addresses, so this sandbox has no network; bwrap has";

interface RunParts {
  readonly workspace: Workspace;
  readonly policy: Policy;
  readonly pool: LauncherPool;
  readonly interpreters: Interpreters;
}

async function run(request: RunRequest, parts: RunParts): Promise<RunResult> {
  const { workspace, policy, pool, interpreters } = parts;
  try {
    return await pool.withSeat(await planFor(workspace, policy, interpreters), async (seat) => {
      const { command, args, cwd } = commandIn(seat, request, parts);
      const env = environmentOf(policy, seat.folders.workspace, seat.folders.temporary);
      const names = [
        [seat.folders.workspace, guestRoot],
        [seat.folders.temporary, "/tmp"],
        [workspace.root, guestRoot],
      ] as const;
      return runGuest(request, {
        isolation: "landlock",
        workspace,
        policy,
        temporary: seat.folders.temporary,
        group: seat.group,
        start: (write) =>
          Promise.resolve(seat.launcher.run({ command, args, cwd, env }, { names, write, input: request.stdin })),
      });
    });
  } catch (error) {
    return refused(error, { ...parts, isolation: "landlock" });
  }
}

function commandIn({ folders }: Seat, request: RunRequest, { policy, interpreters }: RunParts) {
  const command = commandFor(request.language, toHost(request.code, folders, policy.readable), {
    policy,
    interpreters,
  });
  return { ...command, cwd: join(folders.workspace, ...partsOf(request.cwd ?? guestRoot)) };
}
