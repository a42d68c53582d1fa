/**
 * The interface that every sandbox implements, from WASM in a child process to a remote machine. What goes wrong
 * inside a sandbox is a result with a status, not an exception: the model has to read it.
 */
import type { Isolation } from "../../lib/isolation.ts";
import type { SandboxBackend } from "./backend.ts";
import type { Workspace } from "./workspace.ts";

export type { Isolation };

export type Language = "js" | "python" | "shell";

/** Limits of one session. All are ceilings: an executor that cannot keep one refuses to open. */
export interface Policy {
  /** A machine that has nothing as strong refuses. */
  readonly minimum: Isolation;
  readonly wallMs: number;
  readonly cpuMs: number;
  /** Memory of a native guest process. */
  readonly memMb: number;
  /** Memory of a JavaScript VM, which counts every allocation of the guest. */
  readonly jsMemMb: number;
  readonly procs: number;
  /** Largest single file of the workspace. */
  readonly fileMb: number;
  /** All files of the workspace together. */
  readonly workspaceMb: number;
  readonly files: number;
  /** What is kept of stdout and stderr; a guest that prints ten times as much is stopped. */
  readonly outputBytes: number;
  /** Largest JSON of a structured result. */
  readonly resultBytes: number;
  readonly openFiles: number;
  /** The globals of JavaScript as they are kept, compressed. */
  readonly globalsMb: number;
  /**
   * Hosts that the guest may reach, and headers that are added to its plain HTTP requests by host: secrets that it must
   * not see.
   */
  readonly network: {
    readonly allow: readonly string[];
    readonly headers?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  };
  readonly env: Readonly<Record<string, string>>;
  /** Files and folders of this machine that the guest may read, by their own absolute paths. */
  readonly readable: readonly string[];
}

/** Deny by default. The figures are those of docs/sandbox.md. */
export const defaultPolicy: Policy = Object.freeze({
  minimum: "wasm",
  wallMs: 30_000,
  cpuMs: 10_000,
  memMb: 256,
  jsMemMb: 64,
  procs: 64,
  fileMb: 50,
  workspaceMb: 256,
  files: 10_000,
  outputBytes: 100_000,
  resultBytes: 64 * 1_024,
  openFiles: 256,
  globalsMb: 8,
  network: Object.freeze({ allow: Object.freeze([]) }),
  env: Object.freeze({}),
  readable: Object.freeze([]),
});

export interface Capabilities {
  readonly available: boolean;
  readonly languages: readonly Language[];
  /** What it is made of here, for the log and `GET /info`: versions, never paths. */
  readonly detail?: string;
  /** Why it is not available, for the log and for the person who installs this. */
  readonly reason?: string;
}

export interface RunRequest {
  readonly language: Language;
  readonly code: string;
  /** Empty when absent. What comes bit by bit is for a program that is talked to; only native sandboxes take it. */
  readonly stdin?: string | AsyncIterable<string>;
  /** A folder of the workspace, by its guest path. Default `/workspace`. */
  readonly cwd?: string;
  /** Shortens the policy's `wallMs`; it cannot extend it. */
  readonly timeoutMs?: number;
  /** SIGKILL within a second, to all that the code has started. */
  readonly signal?: AbortSignal;
  /** Called while the code runs, as its output comes: plain text, cut at any character. Must not throw. */
  readonly onOutput?: (chunk: OutputChunk) => void;
}

export interface OutputChunk {
  readonly stream: "stdout" | "stderr";
  readonly text: string;
}

export const runStatuses = ["ok", "error", "timeout", "oom", "killed", "output_limit", "denied"] as const;
export type RunStatus = (typeof runStatuses)[number];

export interface RunResult {
  readonly status: RunStatus;
  /** stdout, then stderr: what a person at a terminal would have seen. */
  readonly output: string;
  readonly stdout: string;
  readonly stderr: string;
  /** The structured result, where the language has one. JSON, at most 32 levels deep. */
  readonly value?: unknown;
  readonly exitCode: number | null;
  readonly truncated: boolean;
  readonly bytesDropped: number;
  /** Guest path of the whole output, where it was cut and the workspace had room for it. */
  readonly artifact?: string;
  readonly durationMs: number;
  readonly isolation: Isolation;
  /** Whether the kernel counted memory and tasks of all its processes together (cgroups), and not only of each. */
  readonly isGrouped: boolean;
}

/**
 * One thread's use of a sandbox. Also a backend for deepagents; `createSession` (session.ts) makes one of what an
 * executor has to bring.
 */
export interface Session extends SandboxBackend {
  readonly isolation: Isolation;
  run(request: RunRequest): Promise<RunResult>;
  /**
   * The globals that the code has left, of a session that keeps them. Written by a process that untrusted code ran in: to
   * us it is bytes, and only a guest of the same kind may read them.
   */
  snapshot?(): Promise<Uint8Array>;
  /** Ends what still runs. The files stay. */
  close(): Promise<void>;
}

export interface ToolExecutor {
  readonly kind: Isolation;
  /**
   * Attacks the sandbox from inside, for one language or all. Anything but a clean defence means that the language is
   * not among those of the answer. Leaves no process behind.
   */
  probe(language?: Language): Promise<Capabilities>;
  /** Throws `sandbox_denied` when this executor cannot keep `policy`. */
  open(workspace: Workspace, policy: Policy): Promise<Session>;
  /**
   * A session for JavaScript whose globals stay from run to run, begun from a `snapshot`, or with none where that is
   * empty. One that cannot be used is as good as empty, and the first run says so on stderr. A run that was stopped, or
   * whose globals are beyond the policy, leaves them as they were. Absent where an interpreter cannot be kept.
   */
  resume?(workspace: Workspace, policy: Policy, snapshot: Uint8Array): Promise<Session>;
  /** Ends every process that this executor started. */
  close(): Promise<void>;
}
