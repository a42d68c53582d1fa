/**
 * Evaluates a guest's code in one QuickJS VM, once. Runs in the guest process only. The value of the last expression
 * is the result, top-level `await` works, and there are no timers, no modules, no network and no files.
 */
import type * as quickjs from "quickjs-wasi";
import { prelude } from "./prelude.ts";
import type { GuestAnswer, GuestRequest, GuestStatus } from "./protocol.ts";

export type VmRequest = Pick<GuestRequest, "code" | "timeoutMs" | "maxOutput" | "resultBytes">;
export type Evaluation = Pick<GuestAnswer, "status" | "exitCode" | "json" | "error">;

/** What the library's WASM stack of 1 MB can bear, with room for its own frames. */
const stackBytes = 256 * 1_024;

export interface GuestVm {
  /** `print` gets what the code prints, line by line. */
  evaluate(request: VmRequest, print: (text: string) => void): Evaluation;
}

/** The library and its compiled binary, loaded by whoever knows where they are. */
export interface Engine {
  readonly library: typeof quickjs;
  readonly wasm: object;
}

export async function createVm({ library, wasm }: Engine, memoryMb: number): Promise<GuestVm> {
  let interrupt = (): boolean => false;
  const vm = await library.QuickJS.create({
    wasm,
    memoryLimit: memoryMb * 1_024 * 1_024,
    maxStackSize: stackBytes,
    interruptHandler: () => interrupt(),
    timezoneOffset: 0,
    // The engine's own messages would end up between our frames.
    wasi: () => ({ fd_write: () => 0 }),
  });
  return {
    evaluate(request, print) {
      const evaluator = new Evaluator(vm, { ...request, print }, library.EvalFlags.ASYNC);
      interrupt = () => evaluator.mustStop();
      return evaluator.run();
    },
  };
}

class Evaluator {
  readonly #vm: quickjs.QuickJS;
  readonly #request: VmRequest & { readonly print: (text: string) => void };
  readonly #topLevelAwait: number;
  readonly #deadline: number;
  #printed = 0;
  #stopped: GuestStatus | undefined;
  #outcome: Pick<Evaluation, "status" | "json" | "error"> | undefined;

  constructor(
    vm: quickjs.QuickJS,
    request: VmRequest & { readonly print: (text: string) => void },
    topLevelAwait: number,
  ) {
    this.#vm = vm;
    this.#topLevelAwait = topLevelAwait;
    this.#request = request;
    this.#deadline = performance.now() + request.timeoutMs;
  }

  /** Asked by the engine every few thousand operations. Its exception cannot be caught by the guest. */
  mustStop(): boolean {
    if (!this.#stopped && performance.now() > this.#deadline) this.#stopped = "timeout";
    return this.#stopped !== undefined;
  }

  run(): Evaluation {
    try {
      this.#execute();
    } catch (thrown) {
      this.#outcome ??= failed(thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : "Error");
    }
    const outcome = this.#stopped ? { status: this.#stopped } : (this.#outcome ?? waiting);
    return { ...outcome, exitCode: outcome.status === "ok" ? 0 : outcome.status === "error" ? 1 : null };
  }

  #execute(): void {
    const vm = this.#vm;
    const write = vm.newFunction("write", (line) => this.#write(line));
    const report = vm.newFunction("report", (kind, text) => this.#report(kind, text));
    const finish = vm.callFunction(vm.evalCode(prelude, "prelude.js"), vm.undefined, write, report);
    const evaluation = vm.evalCode(this.#request.code, "code.js", this.#topLevelAwait);
    vm.callFunction(finish, vm.undefined, evaluation);
    vm.executePendingJobs();
  }

  #write(line: quickjs.JSValueHandle | undefined): quickjs.JSValueHandle {
    if (!line?.isString || this.#stopped) return this.#vm.undefined;
    const { maxOutput, print } = this.#request;
    const text = line.toString();
    this.#printed += Buffer.byteLength(text);
    print(text);
    // Later lines are not wanted, and the engine stops at its next question.
    if (this.#printed > maxOutput) this.#stopped = "output_limit";
    return this.#vm.undefined;
  }

  #report(kind: quickjs.JSValueHandle | undefined, text: quickjs.JSValueHandle | undefined): quickjs.JSValueHandle {
    const said = text?.toString() ?? "";
    if (kind?.toString() === "error") this.#outcome = failed(said);
    else if (Buffer.byteLength(said) > this.#request.resultBytes) {
      this.#outcome = { status: "output_limit", error: `The result is larger than ${this.#request.resultBytes} bytes` };
    } else this.#outcome = { status: "ok", ...(said && { json: said }) };
    return this.#vm.undefined;
  }
}

const waiting = {
  status: "error",
  error: "The code waits for something that never happens: there are no timers and there is no network",
} as const;

/** The engine says "out of memory" in its own words; a guest that says so too only fools itself. */
function failed(error: string): { status: GuestStatus; error: string } {
  return {
    status: /^(?:Error: Job execution error: )?InternalError: out of memory/.test(error) ? "oom" : "error",
    error,
  };
}
