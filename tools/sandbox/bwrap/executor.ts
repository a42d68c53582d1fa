/**
 * The machine's own programs in namespaces of their own, by bubblewrap where it is installed: no process, file, user or
 * network of the host is in sight. On top of that the system call filter, the limits and the user ids of the Landlock
 * sandbox.
 */
import { execFile } from "node:child_process";
import { realpath } from "node:fs/promises";
import { posix } from "node:path";
import { promisify } from "node:util";
import { PawlError } from "../../../lib/errors.ts";
import { accountOf, giveTo, isOpenToOthers } from "../native/account.ts";
import { commandFor, environmentOf } from "../native/command.ts";
import { findInterpreters, findProgram, type Interpreters, languagesOf } from "../native/interpreters.ts";
import { probeNative } from "../native/probe.ts";
import { tasksOfUser } from "../native/processes.ts";
import { Refusal, refused } from "../native/refusal.ts";
import { type Guest, type RunContext, runGuest } from "../native/run.ts";
import { guestRoot, partsOf } from "../paths.ts";
import { seccompFilter } from "../seccomp/filter.ts";
import { createSession } from "../session.ts";
import type { Capabilities, Policy, RunRequest, RunResult, Session, ToolExecutor } from "../types.ts";
import type { Workspace } from "../workspace.ts";
import { bwrapArguments, guestNode } from "./arguments.ts";
import { bridge, throughBridge } from "./bridge.ts";
import { GuestNetwork, relayCommand, relayEnvironment, relayOverhead, relayTasks } from "./network.ts";
import { startBwrap } from "./process.ts";

/** bwrap's own processes beside the guest's. */
const own = { processes: 2, memoryMb: 0 };
/** See landlock/plan.ts: without an account the kernel counts all tasks of our own user. */
const slackTasks = 512;
/** Of `/tmp`, and of `/dev/shm`. */
const temporaryMb = 64;

export function createBwrapExecutor(): ToolExecutor {
  const program = findProgram("bwrap");
  const interpreters = findInterpreters();
  const running = new Set<Guest>();
  const open = (workspace: Workspace, policy: Policy): Promise<Session> => {
    if (!program || !interpreters) return Promise.reject(new PawlError("sandbox_denied", notInstalled));
    if (policy.network.allow.length > 0 && !interpreters.js)
      return Promise.reject(new PawlError("sandbox_denied", "A network needs Node inside the sandbox"));
    const network = policy.network.allow.length > 0 ? new GuestNetwork(workspace, policy) : undefined;
    const parts = { workspace, policy, program, interpreters, running, network };
    return Promise.resolve(
      createSession({
        isolation: "bwrap",
        workspace,
        policy,
        run: (request) => run(request, parts),
        close: async () => network?.close(),
      }),
    );
  };
  return {
    kind: "bwrap",
    async probe(language): Promise<Capabilities> {
      if (!program || !interpreters) return { available: false, languages: [], reason: notInstalled };
      const languages = languagesOf(interpreters).filter((one) => language === undefined || one === language);
      const capabilities = await probeNative(open, languages);
      return capabilities.available ? { ...capabilities, detail: await versionOf(program) } : capabilities;
    },
    open,
    async close() {
      for (const guest of running) guest.kill();
      await Promise.all([...running].map((guest) => guest.ended));
    },
  };
}

const notInstalled = "bubblewrap is not installed";

interface RunParts {
  readonly workspace: Workspace;
  readonly policy: Policy;
  readonly program: string;
  readonly interpreters: Interpreters;
  readonly running: Set<Guest>;
  readonly network: GuestNetwork | undefined;
}

async function run(request: RunRequest, parts: RunParts): Promise<RunResult> {
  const { workspace, policy } = parts;
  const place = { isolation: "bwrap", workspace, policy } as const;
  try {
    // Before the run, so that a refusal is one.
    const begin = await prepare(request, parts);
    return await runGuest(request, {
      ...place,
      overhead: parts.network ? { ...own, ...relayOverhead } : own,
      start: (write) => Promise.resolve(begin(write)),
    });
  } catch (error) {
    return refused(error, place);
  }
}

type Begin = (write: Parameters<RunContext["start"]>[0]) => Guest;

async function prepare(request: RunRequest, parts: RunParts): Promise<Begin> {
  const { workspace, policy, program, interpreters, running, network } = parts;
  const account = accountOf(workspace);
  const root = await realpath(workspace.root);
  if (account !== undefined) await giveTo(account, root);
  const isReachable = account === undefined || (await isOpenToOthers(root));
  const { openFiles, fileMb, procs } = policy;
  const guest = commandFor(request.language, request.code, {
    policy,
    interpreters: { ...interpreters, ...(interpreters.js && { js: guestNode }) },
    ceilings: {
      openFiles,
      fileMb,
      tasks:
        account === undefined ? tasksOfUser() + procs + slackTasks : procs + own.processes + (network ? relayTasks : 0),
    },
  });
  const box = bwrapArguments({
    workspace: isReachable ? root : bridge,
    cwd: posix.join(guestRoot, ...partsOf(request.cwd ?? guestRoot)),
    env: { ...(network && relayEnvironment), ...environmentOf(policy, guestRoot, "/tmp") },
    interpreters,
    temporaryMb,
    extra: [...(network ? await network.files() : []), ...policy.readable.map((path) => [path, path] as const)],
  });
  const filter = seccompFilter({ network: network ? "inside" : "none" });
  if (!filter) throw new Refusal(`There is no system call filter for ${process.arch}`);
  const boxed = { command: program, args: [...box, ...(network ? relayCommand : []), guest.command, ...guest.args] };
  const stdin = request.stdin ?? "";
  return (write) => {
    const started = isReachable
      ? startBwrap({ ...boxed, account, filter, stdin }, write)
      : startBwrap({ ...throughBridge(boxed, root, account), filter, stdin }, write);
    running.add(started);
    void started.ended.finally(() => running.delete(started));
    return started;
  };
}

async function versionOf(program: string): Promise<string> {
  const { stdout } = await promisify(execFile)(program, ["--version"], { env: {} });
  return stdout.trim();
}
