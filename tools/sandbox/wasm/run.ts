/** One call of a session: takes a guest, hands it the code and what it works on, and shapes what comes back. */
import { PawlError } from "../../../lib/errors.ts";
import { textOf } from "../input.ts";
import { FileError, partsOf } from "../paths.ts";
import { outputFactor, Recorder, type RunEnd, runResult } from "../recorder.ts";
import type { Language, Policy, RunRequest, RunResult } from "../types.ts";
import type { Workspace } from "../workspace.ts";
import type { Answer, GuestCall, GuestEnd } from "./child.ts";
import { parseUntrusted } from "./json.ts";
import type { GuestPool } from "./pool.ts";
import { isInstalled } from "./programs.ts";
import { globalsFile, type GuestRequest, packBundle } from "./protocol.ts";
import { type Copy, copyIn, copyOut, maxTransferMb } from "./transfer.ts";

/** How long a guest process may take to start; it has not seen any code by then. */
const startMs = 20_000;

/** Where the guests of a language wait. Throws when there can be none. */
export type PoolFor = (language: Language, policy: Policy) => Promise<GuestPool>;
type Ending = Omit<RunEnd, "durationMs">;

const nothing: Copy = { folders: [], files: [], contents: [] };

export class Run {
  readonly #workspace: Workspace;
  readonly #policy: Policy;
  readonly #request: RunRequest;
  readonly #recorder: Recorder;
  #globals: Uint8Array | undefined;

  /** `globals`: that it starts from, where they are kept. */
  constructor(on: { workspace: Workspace; policy: Policy }, request: RunRequest, globals?: Uint8Array) {
    const { workspace, policy } = on;
    this.#workspace = workspace;
    this.#policy = policy;
    this.#request = request;
    this.#globals = globals;
    this.#recorder = new Recorder(policy, request.onOutput);
  }

  /** Where they are kept: after a result, those that the code has left. */
  get globals(): Uint8Array {
    return this.#globals ?? noGlobals;
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
    if (this.#globals && language !== "js") return denied("Only JavaScript has globals that are kept");
    if (signal?.aborted) return { status: "killed", exitCode: null };
    try {
      // A VM for JavaScript has no way to a file.
      const copy = language === "js" ? copyOfGlobals(this.#globals) : await copyIn(this.#workspace);
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
    const { code, cwd = ".", timeoutMs: asked, signal } = this.#request;
    const stdin = textOf(this.#request);
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
    if (this.#globals) return this.#keepGlobals(end);
    const problem = await copyOut(this.#workspace, end, this.#policy);
    if (problem) return { status: "output_limit", exitCode: null, note: `The files were not kept: ${problem}` };
    const value = valueOf(end);
    const links = end.skipped > 0 ? `${end.skipped} links or special files were not kept` : undefined;
    return { exitCode: end.exitCode, ...value, note: value.note ?? links };
  }

  #keepGlobals(end: Answer): Ending {
    const index = end.files.findIndex(({ path }) => path === globalsFile);
    const globals = end.contents[index];
    if (globals && globals.length > this.#policy.globalsMb * 1_024 * 1_024) {
      const note = `The globals take more than ${this.#policy.globalsMb} MB and were not kept`;
      return { status: "output_limit", exitCode: null, note };
    }
    this.#globals = globals ?? this.#globals;
    return { exitCode: end.exitCode, ...valueOf(end) };
  }
}

const noGlobals = Buffer.alloc(0);

function copyOfGlobals(globals: Uint8Array | undefined): Copy {
  if (!globals) return nothing;
  return { ...nothing, files: [{ path: globalsFile, size: globals.length }], contents: [Buffer.from(globals)] };
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
