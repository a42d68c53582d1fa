/**
 * Starts a program that we do not trust: empty environment, resource limits, a process group of its own.
 * Never wait for `close`: a grandchild that keeps the pipe open holds it back for as long as it likes (31 s were
 * measured). The end is `exit` plus a short time in which the pipe may drain.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Readable, Writable } from "node:stream";

const drainMs = 100;

/** `ulimit -f` counts in 512 bytes (POSIX). */
const blocksPerMb = 2_048;

/** Ceilings that the kernel keeps, as `ulimit` takes them. RLIMIT_AS is not among them: it stops V8 from starting. */
export interface ProcessLimits {
  readonly cpuSeconds: number;
  readonly dataMb: number;
  readonly openFiles: number;
  /** 0: the process cannot write to any file. Pipes do not count. */
  readonly fileMb: number;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Confined {
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** After the process is gone and its output was read or given up. */
  readonly ended: Promise<Exit>;
  /** SIGKILL to the whole group. Harmless when it is gone. */
  kill(): void;
  /** Resident memory, on Linux; elsewhere 0. */
  memoryMb(): number;
  /** Whether this process keeps Node's event loop, and so our process, alive. */
  hold(alive: boolean): void;
}

/** `command` is an absolute path. When a limit cannot be set, the program is not started: exit code 126. */
export function spawnConfined(command: string, args: readonly string[], limits: ProcessLimits): Confined {
  const script = [
    "ulimit -c 0",
    `ulimit -f ${limits.fileMb * blocksPerMb}`,
    `ulimit -n ${limits.openFiles}`,
    `ulimit -t ${limits.cpuSeconds}`,
    `ulimit -d ${limits.dataMb * 1_024}`,
    "unset PWD OLDPWD",
    'exec "$@"',
  ].join(" && ");
  const child = spawn("/bin/sh", ["-c", `${script}; exit 126`, "sh", command, ...args], {
    cwd: "/",
    env: {},
    detached: true,
    stdio: ["pipe", "pipe", "ignore"],
  });
  // Writing to a process that died is no error of ours: its exit tells.
  child.stdin.on("error", () => {});
  child.stdout.on("error", () => {});
  const ended = end(child, child.stdout);
  return {
    stdin: child.stdin,
    stdout: child.stdout,
    ended,
    kill: () => killGroup(child),
    memoryMb: () => (child.pid === undefined ? 0 : residentMb(child.pid)),
    hold: (on) => hold(child, on),
  };
}

function end(child: ChildProcess, stdout: Readable): Promise<Exit> {
  const drained = new Promise<void>((resolve) => void stdout.once("close", resolve));
  return new Promise((resolve) => {
    child.once("error", () => resolve({ code: 126, signal: null }));
    child.once("exit", (code, signal) => {
      killGroup(child); // whatever it left behind
      const timer = setTimeout(() => stdout.destroy(), drainMs);
      void drained.then(() => clearTimeout(timer)).then(() => resolve({ code, signal }));
    });
  });
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch (error) {
    // Gone, or (macOS) gone and not yet buried.
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ESRCH" && code !== "EPERM") throw error;
  }
}

function residentMb(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0) / 1_024;
  } catch {
    return 0; // gone, or not Linux
  }
}

function hold(child: ChildProcess, alive: boolean): void {
  // The pipes are sockets; the types of `stdio` do not say so.
  const handles = [child, child.stdin, child.stdout] as unknown as { ref(): void; unref(): void }[];
  for (const handle of handles) {
    if (alive) handle.ref();
    else handle.unref();
  }
}
