/**
 * JavaScript in QuickJS and Python in CPython, both compiled to WebAssembly, and a shell in TypeScript (just-bash), in
 * processes that have no environment, no files, one user id of their own (under root) and hard limits. A process for
 * each call, but for JavaScript, which gets a fresh VM for each call and a process for each workspace. It works wherever
 * Node does.
 */
import { PawlError } from "../../../lib/errors.ts";
import { FileError, partsOf } from "../paths.ts";
import { outputFactor, Recorder, type RunEnd, runResult } from "../recorder.ts";
import { createSession } from "../session.ts";
import type { Language, Policy, RunRequest, RunResult, Session, ToolExecutor } from "../types.ts";
import type { Workspace } from "../workspace.ts";
import { boxed, canBox } from "./boxed.ts";
import type { Answer, GuestCall, GuestEnd } from "./child.ts";
import { parseUntrusted } from "./json.ts";
import { GuestPool } from "./pool.ts";
import { probeWasm } from "./probe.ts";
import { installedLanguages, isInstalled, programFor } from "./programs.ts";
import { type GuestRequest, packBundle } from "./protocol.ts";
import { type Copy, copyIn, copyOut, maxTransferMb } from "./transfer.ts";

/** How long a guest process may take to start; it has not seen any code by then. */
const startMs = 20_000;

export function createWasmExecutor(): ToolExecutor {
  const pools = new Map<string, GuestPool>();
  let isClosed = false;
  const poolFor =
    (isProbe: boolean): PoolFor =>
    async (language, policy) => {
      const isBoxed = await canBox();
      if (isClosed) throw new PawlError("sandbox_denied", "The sandbox is closed");
      const { jsMemMb, memMb, cpuMs, openFiles } = policy;
      // Of what a program is made: looking for its files on each call would cost as much as the call.
      const key = JSON.stringify([isProbe, language, jsMemMb, memMb, cpuMs, openFiles]);
      const known = pools.get(key);
      if (known) return known;
      const plain = programFor(language, policy);
      const program = isBoxed ? boxed(plain) : plain;
      // A self-test keeps no guest waiting: it is not known yet whether anybody will want one.
      const pool = new GuestPool(isProbe ? { ...program, idleTarget: 0 } : program);
      pools.set(key, pool);
      return pool;
    };
  const open = (workspace: Workspace, policy: Policy, isProbe = false): Session => {
    const run = (request: RunRequest): Promise<RunResult> =>
      new Run(workspace, policy, request).result(poolFor(isProbe));
    return createSession({ isolation: "wasm", workspace, policy, run });
  };
  return {
    kind: "wasm",
    async probe(language) {
      const languages = installedLanguages().filter((installed) => language === undefined || installed === language);
      const capabilities = await probeWasm((workspace, policy) => open(workspace, policy, true), languages);
      return { ...capabilities, detail: (await canBox()) ? "behind Landlock and seccomp" : "without Landlock" };
    },
    open: (workspace, policy) => {
      if (policy.network.allow.length > 0 || Object.keys(policy.env).length > 0) {
        const reason = "The wasm executor has no network and no environment";
        return Promise.reject(new PawlError("sandbox_denied", reason));
      }
      return Promise.resolve(open(workspace, policy));
    },
    close: async () => {
      isClosed = true;
      await Promise.all([...pools.values()].map((pool) => pool.close()));
      pools.clear();
    },
  };
}

type PoolFor = (language: Language, policy: Policy) => Promise<GuestPool>;
type Ending = Omit<RunEnd, "durationMs">;

const nothing: Copy = { folders: [], files: [], contents: [] };

/** One call of a session. */
class Run {
  readonly #workspace: Workspace;
  readonly #policy: Policy;
  readonly #request: RunRequest;
  readonly #recorder: Recorder;

  constructor(workspace: Workspace, policy: Policy, request: RunRequest) {
    this.#workspace = workspace;
    this.#policy = policy;
    this.#request = request;
    this.#recorder = new Recorder(policy, request.onOutput);
  }

  async result(poolFor: PoolFor): Promise<RunResult> {
    const started = performance.now();
    const end = await this.#end(poolFor);
    const around = { workspace: this.#workspace, policy: this.#policy, isolation: "wasm" } as const;
    return runResult(this.#recorder, { ...end, durationMs: performance.now() - started }, around);
  }

  async #end(poolFor: PoolFor): Promise<Ending> {
    const { language, signal } = this.#request;
    if (!isInstalled(language)) {
      return denied(`This sandbox cannot run ${language}: the package just-bash is not installed`);
    }
    if (signal?.aborted) return { status: "killed", exitCode: null };
    try {
      // A VM for JavaScript has no way to a file.
      const copy = language === "js" ? nothing : await copyIn(this.#workspace);
      return await this.#shape(await this.#evaluate(await poolFor(language, this.#policy), this.#callOf(copy)));
    } catch (error) {
      if (error instanceof PawlError || error instanceof FileError) return denied(error.message);
      throw error;
    }
  }

  async #evaluate(pool: GuestPool, call: GuestCall): Promise<GuestEnd | undefined> {
    const { signal } = this.#request;
    for (let tries = 1; tries <= pool.tries; tries++) {
      try {
        return await pool.withGuest(this.#workspace.root, async (guest) => {
          await guest.start(startMs, signal);
          return await guest.evaluate(call);
        });
      } catch {
        if (signal?.aborted) return { status: "killed" };
      }
    }
    return undefined;
  }

  #callOf({ folders, files, contents }: Copy): GuestCall {
    const { code, stdin = "", cwd = ".", timeoutMs: asked, signal } = this.#request;
    const { wallMs, cpuMs, outputBytes, resultBytes } = this.#policy;
    // A guest cannot wait for anything but itself, so its wall clock is its CPU time.
    const timeoutMs = Math.min(asked ?? wallMs, wallMs, cpuMs);
    const header: GuestRequest = {
      code,
      stdin,
      cwd: partsOf(cwd).join("/"),
      timeoutMs,
      maxOutput: outputFactor * outputBytes,
      resultBytes,
      folders,
      files,
    };
    return {
      bundle: packBundle(header, contents),
      timeoutMs,
      maxAnswer: 2 * maxTransferMb * 1_024 * 1_024 + 6 * resultBytes,
      signal,
      onOutput: (stream, chunk) => {
        this.#recorder.write(stream, chunk);
        return !this.#recorder.isOverLimit;
      },
    };
  }

  async #shape(end: GuestEnd | undefined): Promise<Ending> {
    if (!end) return denied("The sandbox could not start");
    if (!("contents" in end)) return { status: end.status, exitCode: null };
    const problem = await copyOut(this.#workspace, end, this.#policy);
    if (problem) return { status: "output_limit", exitCode: null, note: `The files were not kept: ${problem}` };
    const value = valueOf(end);
    const links = end.skipped > 0 ? `${end.skipped} links or special files were not kept` : undefined;
    return { exitCode: end.exitCode, ...value, note: value.note ?? links };
  }
}

function denied(note: string): Ending {
  return { status: "denied", exitCode: null, note };
}

function valueOf({ status, json, error }: Answer): Pick<Ending, "status" | "note" | "value"> & { exitCode?: number } {
  if (status !== "ok" || json === undefined) return { status, note: error };
  try {
    return { status, value: parseUntrusted(json) };
  } catch (problem) {
    const note = problem instanceof Error ? problem.message : "The result is not JSON";
    return { status: "error", exitCode: 1, note };
  }
}
