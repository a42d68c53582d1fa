/**
 * Containers of Docker or Podman, where an operator has named an image. The engine's command line is all that is used:
 * no socket, no library. What it adds to bwrap is the engine's own choice of kernel boundary (gVisor, Kata).
 */
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { realpath } from "node:fs/promises";
import { basename, posix } from "node:path";
import { promisify } from "node:util";
import { config } from "../../../lib/config.ts";
import { PawlError } from "../../../lib/errors.ts";
import { accountOf, giveTo } from "../native/account.ts";
import { commandFor, environmentOf } from "../native/command.ts";
import { findProgram, type Interpreters, languagesOf } from "../native/interpreters.ts";
import { probeNative } from "../native/probe.ts";
import { refused } from "../native/refusal.ts";
import { type Guest, runGuest } from "../native/run.ts";
import { textOf } from "../input.ts";
import { guestRoot, partsOf } from "../paths.ts";
import { createSession } from "../session.ts";
import type { Capabilities, Policy, RunRequest, RunResult, Session, ToolExecutor } from "../types.ts";
import type { Workspace } from "../workspace.ts";
import { runArguments } from "./arguments.ts";
import { engineEnvironment, startContainer } from "./process.ts";

/** As images have them. */
const interpreters: Interpreters = { shell: "/bin/sh", python: "python3", js: "node" };
/** The engine's command line, which is not the guest's. */
const own = { processes: 2, memoryMb: 512 };

export interface Engine {
  /** Absolute path of `docker` or `podman`. */
  readonly program: string;
  readonly image: string;
}

/** `engine` is found on this machine unless it is given. */
export function createContainerExecutor(engine: Engine | string = findEngine()): ToolExecutor {
  const running = new Set<Guest>();
  const open = (workspace: Workspace, policy: Policy): Promise<Session> => {
    if (typeof engine === "string") return Promise.reject(new PawlError("sandbox_denied", engine));
    if (policy.network.allow.length > 0 || policy.readable.length > 0)
      return Promise.reject(new PawlError("sandbox_denied", nothingMore));
    const parts = { workspace, policy, engine, running };
    return Promise.resolve(
      createSession({ isolation: "container", workspace, policy, run: (request) => run(request, parts) }),
    );
  };
  return {
    kind: "container",
    async probe(language): Promise<Capabilities> {
      if (typeof engine === "string") return { available: false, languages: [], reason: engine };
      const languages = languagesOf(interpreters).filter((one) => language === undefined || one === language);
      const capabilities = await probeNative(open, languages, imagesOwn);
      return capabilities.available ? { ...capabilities, detail: await versionOf(engine) } : capabilities;
    },
    open,
    async close() {
      for (const guest of running) guest.kill();
      await Promise.all([...running].map((guest) => guest.ended));
    },
  };
}

const nothingMore = "Containers here have no network and no files of this machine; bwrap has them";
/** An attack of the self-test that is none: an image has system files of its own. */
const imagesOwn = ["a system file"];

function findEngine(): Engine | string {
  const image = config().sandboxImage;
  if (image === undefined) return "PAWL_SANDBOX_CONTAINER_IMAGE is not set";
  const program = findProgram("docker") ?? findProgram("podman");
  return program === undefined ? "Neither docker nor podman is installed" : { program, image };
}

interface RunParts {
  readonly workspace: Workspace;
  readonly policy: Policy;
  readonly engine: Engine;
  readonly running: Set<Guest>;
}

async function run(request: RunRequest, { workspace, policy, engine, running }: RunParts): Promise<RunResult> {
  const place = { isolation: "container", workspace, policy } as const;
  try {
    const account = accountOf(workspace);
    const root = await realpath(workspace.root);
    if (account !== undefined) await giveTo(account, root);
    const box = {
      name: `pawl-${randomUUID()}`,
      image: engine.image,
      workspace: root,
      cwd: posix.join(guestRoot, ...partsOf(request.cwd ?? guestRoot)),
      user: { uid: account ?? process.getuid!(), gid: account ?? process.getgid!() },
      env: environmentOf(policy, guestRoot, "/tmp"),
      policy,
      keepsUser: account === undefined && basename(engine.program) === "podman",
    };
    const args = runArguments(box, commandFor(request.language, request.code, { policy, interpreters }));
    const start = { engine: engine.program, name: box.name, args, stdin: textOf(request) };
    return await runGuest(request, {
      ...place,
      overhead: own,
      start(write) {
        const guest = startContainer(start, write);
        running.add(guest);
        void guest.ended.finally(() => running.delete(guest));
        return Promise.resolve(guest);
      },
    });
  } catch (error) {
    return refused(error, place);
  }
}

async function versionOf({ program, image }: Engine): Promise<string> {
  const { stdout } = await promisify(execFile)(program, ["--version"], { env: engineEnvironment(), timeout: 5_000 });
  return `${stdout.trim().slice(0, 100)}, ${image}`;
}
