/** One container, from our side: the engine's command line, whose end is not the container's, and the container's name. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import type { Guest, GuestExit } from "../native/run.ts";
import type { OutputChunk } from "../types.ts";
import { engineEnvironment } from "./engine.ts";

/** The engine's own failures: the image is not there, the daemon is away, an option is unknown. */
const engineFailed = 125;
/** The engine started nothing: its runtime refused, or the image has no such program. A guest can end like this too. */
const notStarted = [126, 127];
const runtimeError = /^(?:docker: )?Error(?: response from daemon)?: /;
/** How a shell, and an engine, report SIGKILL: also what the kernel sends when memory runs out. */
const killed = 128 + 9;
/** For the engine to remove a container. Then its command line is shot, so that no run waits for a daemon that hangs. */
const removeMs = 5_000;

interface ContainerStart {
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
  let firstWords = "";
  child.stderr.on("data", (chunk: Buffer) => {
    if (firstWords.length < 100) firstWords += chunk.toString("latin1");
    write("stderr", chunk);
  });
  let removed: Promise<void> | undefined;
  const kill = (): void => void (removed ??= remove(engine, name, child));
  return {
    ancestor: child.pid ?? 0,
    // A container that was to be killed has ended when the engine says so, whatever became of the command line.
    ended: end(child, () => runtimeError.test(firstWords)).then(async (exit) => {
      await removed;
      return exit;
    }),
    kill,
  };
}

function end(child: ChildProcess, saysError: () => boolean): Promise<GuestExit> {
  return new Promise((resolve) => {
    child.once("error", ({ message }) => resolve({ code: null, signal: null, error: message }));
    child.once("close", (code, signal) => {
      const hasFailed = code === engineFailed || (notStarted.includes(code ?? 0) && saysError());
      if (hasFailed) resolve({ code: null, signal: null, error: "The container engine failed" });
      else if (code === killed) resolve({ code: null, signal: "SIGKILL" });
      else resolve({ code, signal });
    });
  });
}

/**
 * By name, and by SIGKILL: Podman's `rm --force` alone first asks, and waits ten seconds for a guest that ignores it.
 * `rm` is for one that is only being created, which cannot be killed yet.
 */
async function remove(engine: string, name: string, child: ChildProcess): Promise<void> {
  const options = { cwd: "/", env: engineEnvironment(), timeout: removeMs, killSignal: "SIGKILL" } as const;
  for (const command of [
    ["kill", "--signal", "KILL"],
    ["rm", "--force"],
  ]) {
    await new Promise<void>((resolve) => execFile(engine, [...command, name], options, () => resolve()));
  }
  child.kill("SIGKILL");
}
