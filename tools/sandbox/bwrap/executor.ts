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
import type { GroupLimits } from "../cgroup/group.ts";
import { groupsHere, makeGroup } from "../cgroup/groups.ts";
import { commandFor, environmentOf } from "../native/command.ts";
import { findInterpreters, findProgram, type Interpreters, languagesOf } from "../native/interpreters.ts";
import { probeNative } from "../native/probe.ts";
import { tasksOfUser } from "../native/processes.ts";
import { Refusal, refused } from "../native/refusal.ts";
import { runGuest } from "../native/run.ts";
import { guestRoot, partsOf } from "../paths.ts";
import { seccompFilter } from "../seccomp/filter.ts";
import { createSession } from "../session.ts";
import type { Capabilities, Policy, RunRequest, RunResult, Session, ToolExecutor } from "../types.ts";
import { identityOf, type Workspace } from "../workspace.ts";
import { bwrapArguments, guestNode } from "./arguments.ts";
import { bridge, throughBridge } from "./bridge.ts";
import { gate, type GateInput, throughGate } from "./gate.ts";
import { GuestNetwork, relayCommand, relayEnvironment, relayOverhead, relayTasks } from "./network.ts";
import { type BoxPlan, BoxPool } from "./pool.ts";
import { Box } from "./process.ts";

/** bwrap's own processes beside the guest's. */
const own = { processes: 2, memoryMb: 0 };
/** What the kernel counts for them. */
const ownMb = 16;
/** See landlock/plan.ts: without an account the kernel counts all tasks of our own user. */
const slackTasks = 512;
/** Of `/tmp`, and of `/dev/shm`. */
const temporaryMb = 64;

export function createBwrapExecutor(): ToolExecutor {
  const program = findProgram("bwrap");
  const interpreters = findInterpreters();
  const pool = new BoxPool();
  const open = (workspace: Workspace, policy: Policy): Promise<Session> => {
    if (!program || !interpreters) return Promise.reject(new PawlError("sandbox_denied", notInstalled));
    if (policy.network.allow.length > 0 && !interpreters.js)
      return Promise.reject(new PawlError("sandbox_denied", "A network needs Node inside the sandbox"));
    const network = policy.network.allow.length > 0 ? new GuestNetwork(workspace, policy) : undefined;
    const parts = { workspace, policy, program, interpreters, pool, network };
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
      return capabilities.available
        ? { ...capabilities, detail: `${await versionOf(program)}, ${(await groupsHere()).detail}` }
        : capabilities;
    },
    open,
    close: () => pool.close(),
  };
}

const notInstalled = "bubblewrap is not installed";

interface RunParts {
  readonly workspace: Workspace;
  readonly policy: Policy;
  readonly program: string;
  readonly interpreters: Interpreters;
  readonly pool: BoxPool;
  readonly network: GuestNetwork | undefined;
}

async function run(request: RunRequest, parts: RunParts): Promise<RunResult> {
  const { workspace, policy, pool, network } = parts;
  const place = { isolation: "bwrap", workspace, policy } as const;
  const account = accountOf(workspace);
  try {
    // Before the run, so that a refusal is one.
    const header = headerFor(request, parts, account);
    return await pool.withBox(await planFor(parts, account), (box) =>
      runGuest(request, {
        ...place,
        group: box.group,
        overhead: network ? { ...own, ...relayOverhead } : own,
        start: (write) => Promise.resolve(box.begin({ header, stdin: request.stdin ?? "" }, write)),
      }),
    );
  } catch (error) {
    return refused(error, place);
  }
}

function headerFor(request: RunRequest, { policy, interpreters, network }: RunParts, account?: number): GateInput {
  const { openFiles, fileMb, procs } = policy;
  const tasks =
    account === undefined ? tasksOfUser() + procs + slackTasks : procs + own.processes + (network ? relayTasks : 0);
  const command = commandFor(request.language, request.code, {
    policy,
    interpreters: { ...interpreters, ...(interpreters.js && { js: guestNode }) },
    ceilings: { openFiles, fileMb, tasks },
  });
  return throughGate(command, posix.join(guestRoot, ...partsOf(request.cwd ?? guestRoot)));
}

/** Whatever a box has from its start is in the key; the limits come with the command. */
async function planFor(parts: RunParts, account: number | undefined): Promise<BoxPlan> {
  const { workspace, policy, network } = parts;
  return {
    // A session's network ends with the session; and who is given more to read gets a workspace for one call.
    key:
      network || policy.readable.length > 0
        ? undefined
        : JSON.stringify([await identityOf(workspace), account, policy.env, policy.memMb, policy.procs]),
    start: () => startBox(parts, account),
  };
}

async function startBox({ workspace, policy, program, interpreters, network }: RunParts, account?: number) {
  const root = await realpath(workspace.root);
  if (account !== undefined) await giveTo(account, root);
  const isReachable = account === undefined || (await isOpenToOthers(root));
  const box = bwrapArguments({
    workspace: isReachable ? root : bridge,
    env: { ...(network && relayEnvironment), ...environmentOf(policy, guestRoot, "/tmp") },
    interpreters,
    temporaryMb,
    extra: [...(network ? await network.files() : []), ...policy.readable.map((path) => [path, path] as const)],
  });
  const filter = seccompFilter({ network: network ? "inside" : "none" });
  if (!filter) throw new Refusal(`There is no system call filter for ${process.arch}`);
  const waiting = gate(interpreters.shell);
  const args = [...box, ...(network ? relayCommand : []), waiting.command, ...waiting.args];
  const boxed = { command: program, args };
  const group = await makeGroup(groupLimits(policy, network !== undefined));
  const start = isReachable ? boxed : throughBridge(boxed, root, account);
  const user = isReachable ? account : undefined;
  const entering = await group?.selfEntering(start, user);
  return new Box({ ...start, ...entering, account: user, filter, group, isSelfEntering: entering !== undefined });
}

/** With what the sandbox itself needs beside a guest. */
function groupLimits({ memMb, procs }: Policy, hasNetwork: boolean): GroupLimits {
  const relay = hasNetwork ? relayOverhead.memoryMb : 0;
  const tasks = procs + own.processes + (hasNetwork ? relayTasks : 0);
  return { memoryMb: memMb + ownMb + relay, tasks };
}

async function versionOf(program: string): Promise<string> {
  const { stdout } = await promisify(execFile)(program, ["--version"], { env: {} });
  return stdout.trim();
}
