/** One container, from our side: the engine's command line, whose end is not the container's, and the container's name. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { homedir } from "node:os";
import type { Guest, GuestExit } from "../native/run.ts";
import type { OutputChunk } from "../types.ts";

/** The engine's own failures: the image is not there, the daemon is away, an option is unknown. */
const engineFailed = 125;
/** How a shell, and an engine, report SIGKILL: also what the kernel sends when memory runs out. */
const killed = 128 + 9;
/** For the engine to remove a container. Then its command line is shot, so that no run waits for a daemon that hangs. */
const removeMs = 5_000;

export interface ContainerStart {
  readonly engine: string;
  readonly name: string;
  readonly args: readonly string[];
  readonly stdin: string;
}

export function startContainer(
  { engine, name, args, stdin }: ContainerStart,
  write: (stream: OutputChunk["stream"], chunk: Buffer) => void,
): Guest {
  const child = spawn(engine, args, { cwd: "/", env: engineEnvironment(), stdio: ["pipe", "pipe", "pipe"] });
  child.stdin.on("error", () => {});
  child.stdin.end(stdin);
  child.stdout.on("data", (chunk: Buffer) => write("stdout", chunk));
  child.stderr.on("data", (chunk: Buffer) => write("stderr", chunk));
  let removed: Promise<void> | undefined;
  const kill = (): void => void (removed ??= remove(engine, name, child));
  return {
    ancestor: child.pid ?? 0,
    // A container that was to be killed has ended when the engine says so, whatever became of the command line.
    ended: end(child).then(async (exit) => {
      await removed;
      return exit;
    }),
    kill,
  };
}

function end(child: ChildProcess): Promise<GuestExit> {
  return new Promise((resolve) => {
    child.once("error", ({ message }) => resolve({ code: null, signal: null, error: message }));
    child.once("close", (code, signal) => {
      if (code === engineFailed) resolve({ code: null, signal: null, error: "The container engine failed" });
      else if (code === killed) resolve({ code: null, signal: "SIGKILL" });
      else resolve({ code, signal });
    });
  });
}

/** By name and by force: also one that is only being created. */
async function remove(engine: string, name: string, child: ChildProcess): Promise<void> {
  await new Promise<void>((resolve) => {
    const options = { cwd: "/", env: engineEnvironment(), timeout: removeMs, killSignal: "SIGKILL" } as const;
    execFile(engine, ["rm", "--force", name], options, () => resolve());
  });
  child.kill("SIGKILL");
}

/** Where rootless Podman, and Docker's contexts, look for what is theirs. Nothing of our own environment. */
export function engineEnvironment(): Record<string, string> {
  const uid = process.getuid?.() ?? 0;
  return {
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: homedir(),
    ...(uid !== 0 && { XDG_RUNTIME_DIR: `/run/user/${uid}` }),
  };
}
