/**
 * The interface that every sandbox implements, from WASM in a child process to a remote machine. What goes wrong
 * inside a sandbox is a result with a status, not an exception: the model has to read it.
 */
import type { Workspace } from "./workspace.ts";

/** What stands between the code and this machine. `wasm` works wherever Node does; the others come with the host. */
export type Isolation = "wasm" | "landlock" | "bwrap" | "container" | "remote";

export type Language = "js" | "python" | "shell";

/** Limits of one session. All are ceilings: an executor that cannot keep one refuses to open. */
export interface Policy {
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
  /** Hosts that the guest may reach. */
  readonly network: { readonly allow: readonly string[] };
  readonly env: Readonly<Record<string, string>>;
}

/** Deny by default. The figures are those of docs/sandbox.md. */
export const defaultPolicy: Policy = Object.freeze({
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
  network: Object.freeze({ allow: Object.freeze([]) }),
  env: Object.freeze({}),
});

export interface Capabilities {
  readonly available: boolean;
  readonly languages: readonly Language[];
  /** Why it is not available, for the log and for the person who installs this. */
  readonly reason?: string;
}

export interface RunRequest {
  readonly language: Language;
  readonly code: string;
  /** Shortens the policy's `wallMs`; it cannot extend it. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export type RunStatus = "ok" | "error" | "timeout" | "oom" | "killed" | "output_limit" | "denied";

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
  readonly durationMs: number;
  readonly isolation: Isolation;
}

export interface Session {
  readonly id: string;
  run(request: RunRequest): Promise<RunResult>;
  close(): Promise<void>;
}

export interface ToolExecutor {
  readonly kind: Isolation;
  /** Attacks the sandbox from inside. Anything but a clean defence means `available: false`. */
  probe(): Promise<Capabilities>;
  /** Throws `sandbox_denied` when this executor cannot keep `policy`. */
  open(workspace: Workspace, policy: Policy): Promise<Session>;
  /** Ends every process that this executor started. */
  close(): Promise<void>;
}
