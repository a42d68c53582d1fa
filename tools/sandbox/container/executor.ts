/**
 * Containers of Docker or Podman, where an operator has named an image. The engine's command line is all that is used:
 * no socket, no library. What it adds to bwrap is the engine's own choice of kernel boundary (gVisor, Kata).
 */
import { randomUUID } from "node:crypto";
import { realpath, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, posix } from "node:path";
import { asError, PawlError } from "../../../lib/errors.ts";
import { accountOf, giveTo } from "../native/account.ts";
import { commandFor, environmentOf } from "../native/command.ts";
import { type Interpreters, languagesOf } from "../native/interpreters.ts";
import { probeNative } from "../native/probe.ts";
import { Refusal, refused } from "../native/refusal.ts";
import { type Guest, runGuest } from "../native/run.ts";
import { textOf } from "../input.ts";
import { guestRoot, partsOf } from "../paths.ts";
import { makeScratch } from "../scratch.ts";
import { seccompProfile } from "../seccomp/profile.ts";
import { createSession } from "../session.ts";
import type { Capabilities, Policy, RunRequest, RunResult, Session, ToolExecutor } from "../types.ts";
import type { Workspace } from "../workspace.ts";
import { runArguments } from "./arguments.ts";
import { type Engine, findEngine, versionOf } from "./engine.ts";
import { startContainer } from "./process.ts";

/** As images have them. */
const interpreters: Interpreters = { shell: "/bin/sh", python: "python3", js: "node" };
/** The engine's command line, which is not the guest's. */
const own = { processes: 2, memoryMb: 512 };

/** `given` instead of what this machine has. */
export function createContainerExecutor(given?: Engine): ToolExecutor {
  const running = new Set<Guest>();
  const profile = new ProfileFile();
  let known = given;
  const engineHere = async (): Promise<Engine> => (known ??= await findEngine());
  const open = async (workspace: Workspace, policy: Policy): Promise<Session> => {
    if (policy.network.allow.length > 0 || policy.readable.length > 0)
      throw new PawlError("sandbox_denied", nothingMore);
    const parts = { workspace, policy, engine: await engineHere(), running, profile };
    return createSession({ isolation: "container", workspace, policy, run: (request) => run(request, parts) });
  };
  return {
    kind: "container",
    async probe(language): Promise<Capabilities> {
      const engine = await engineHere().catch((error: unknown) => asError(error).message);
      if (typeof engine === "string") return { available: false, languages: [], reason: engine };
      const languages = languagesOf(interpreters).filter((one) => language === undefined || one === language);
      const capabilities = await probeNative(open, languages, imagesOwn);
      return capabilities.available ? { ...capabilities, detail: await versionOf(engine) } : capabilities;
    },
    open,
    async close() {
      for (const guest of running) guest.kill();
      await Promise.all([...running].map((guest) => guest.ended));
      await profile.remove();
    },
  };
}

const nothingMore = "Containers here have no network and no files of this machine; bwrap has them";
/** An attack of the self-test that is none: an image has system files of its own. */
const imagesOwn = ["a system file"];

interface RunParts {
  readonly workspace: Workspace;
  readonly policy: Policy;
  readonly engine: Engine;
  readonly running: Set<Guest>;
  readonly profile: ProfileFile;
}

async function run(request: RunRequest, { workspace, policy, engine, running, profile }: RunParts): Promise<RunResult> {
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
      seccompProfile: await profile.path(),
      isOwnUser: account !== undefined,
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

/** An engine takes its system call filter from a file. */
class ProfileFile {
  #written: Promise<string> | undefined;

  /** Throws `Refusal` on a machine whose system calls are not known. */
  path(): Promise<string> {
    return (this.#written ??= this.#write());
  }

  async remove(): Promise<void> {
    const path = await this.#written?.catch(() => undefined);
    if (path) await rm(dirname(path), { recursive: true, force: true });
  }

  async #write(): Promise<string> {
    const profile = seccompProfile({ network: "none" });
    if (!profile) throw new Refusal(`There is no system call filter for ${process.arch}`);
    const path = join(await makeScratch("guest"), "seccomp.json");
    await writeFile(path, profile);
    return path;
  }
}
