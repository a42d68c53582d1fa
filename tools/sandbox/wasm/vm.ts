/**
 * A QuickJS VM for a guest's code. Runs in the guest process only. The value of the last expression is the result,
 * top-level `await` works, and there are no timers, no modules, no network and no files.
 */
import type * as quickjs from "quickjs-wasi";
import { prelude } from "./prelude.ts";
import { Evaluator, type Outcome, type Print, type VmRequest } from "./evaluator.ts";
import type { GuestAnswer } from "./protocol.ts";
import { findRandomState, seedRandomState } from "./random.ts";

/** What the library's WASM stack of 1 MB can bear, with room for its own frames. */
const stackBytes = 256 * 1_024;

/** The library and its compiled binary, loaded by whoever knows where they are. */
export interface Engine {
  readonly library: typeof quickjs;
  readonly wasm: object;
}

/** A VM at rest. `finish`: where the prelude's function is in it. */
export interface Image extends Omit<quickjs.Snapshot, "extensions"> {
  readonly finish: number;
}

/** What the prelude calls, by names that a snapshot keeps. */
const hostFunctions = ["write", "report"] as const;

export class GuestVm {
  readonly #vm: quickjs.QuickJS;
  readonly #finish: quickjs.JSValueHandle;
  readonly #topLevelAwait: number;
  /** What it was before it ran anything, and where its random numbers come from. */
  #origin: { readonly memory: Uint8Array; readonly stackPointer: number; readonly randomState: number } | undefined;
  #current: Evaluator | undefined;
  #isBroken = false;

  private constructor(library: typeof quickjs, vm: quickjs.QuickJS, finish: quickjs.JSValueHandle) {
    this.#vm = vm;
    this.#finish = finish;
    this.#topLevelAwait = library.EvalFlags.ASYNC;
  }

  static async create(engine: Engine, memoryMb: number): Promise<GuestVm> {
    const { options, hostFunction, serve } = surroundings(engine, memoryMb);
    const vm = await engine.library.QuickJS.create(options);
    const functions = hostFunctions.map((name) => vm.newFunction(name, hostFunction(name)));
    const finish = vm.callFunction(vm.evalCode(prelude, "prelude.js"), vm.undefined, ...functions);
    const made = serve(new GuestVm(engine.library, vm, finish));
    made.#rememberOrigin();
    return made;
  }

  /** The same VM again, under the limits of now. Throws for what cannot be one. */
  static async restore(engine: Engine, memoryMb: number, image: Image): Promise<GuestVm> {
    const { options, hostFunction, serve } = surroundings(engine, memoryMb);
    const vm = await engine.library.QuickJS.restore({ ...image, extensions: [] }, options);
    for (const name of hostFunctions) vm.registerHostCallback(name, hostFunction(name));
    return serve(new GuestVm(engine.library, vm, vm.importHandle(image.finish)));
  }

  /** Whether the engine itself failed: then its memory is not that of a VM any more. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** `print` gets what the code prints, line by line. */
  evaluate(request: VmRequest, print: Print): Outcome & Pick<GuestAnswer, "exitCode"> {
    this.#current = new Evaluator(request, print);
    const outcome = this.#run(this.#current);
    return { ...outcome, exitCode: outcome.status === "ok" ? 0 : outcome.status === "error" ? 1 : null };
  }

  /**
   * Makes it one that has run nothing, where that can be: writes all of its memory as it was, in a fraction of the time
   * that making another takes. Beside its memory a VM has a stack pointer, and no other state (the binary has no other
   * global that changes). Memory never shrinks, so one that has grown stays as it is.
   */
  reset(): boolean {
    const memory = this.#memory();
    if (this.#isBroken || memory.length !== this.#origin?.memory.length) return false;
    memory.set(this.#origin.memory);
    seedRandomState(memory, this.#origin.randomState);
    this.#vm._getExports().__stack_pointer.value = this.#origin.stackPointer;
    this.#current = undefined;
    return true;
  }

  #rememberOrigin(): void {
    const { contextPtr } = this.#vm.snapshot();
    const draw = (): void => this.#vm.withScope(() => void this.#vm.evalCode("Math.random()"));
    const randomState = findRandomState(() => this.#memory(), contextPtr, draw);
    if (randomState === undefined) return;
    const { memory, stackPointer } = this.#vm.snapshot();
    this.#origin = { memory, stackPointer, randomState };
  }

  /** The library copies it and offers no way to write it back into the same VM. */
  #memory(): Uint8Array {
    return new Uint8Array(this.#vm._getExports().memory.buffer);
  }

  image(): Image {
    const { memory, stackPointer, runtimePtr, contextPtr } = this.#vm.snapshot();
    return { memory, stackPointer, runtimePtr, contextPtr, finish: this.#vm.exportHandle(this.#finish) };
  }

  /** Asked by the engine every few thousand operations. Its exception cannot be caught by the guest. */
  mustStop(): boolean {
    return this.#current?.mustStop() ?? false;
  }

  receive(name: (typeof hostFunctions)[number], parts: readonly quickjs.JSValueHandle[]): quickjs.JSValueHandle {
    // Never an object, whose conversion would run the guest's code.
    const texts = parts.map((part) => (part.isString ? part.toString() : ""));
    this.#current?.[name](...texts);
    return this.#vm.undefined;
  }

  #run(evaluator: Evaluator): Outcome {
    const vm = this.#vm;
    try {
      vm.withScope(() => {
        const evaluation = vm.evalCode(evaluator.code, "code.js", this.#topLevelAwait);
        vm.callFunction(this.#finish, vm.undefined, evaluation, vm.newString(evaluator.id));
        vm.executePendingJobs();
      });
    } catch (thrown) {
      this.#isBroken ||= isTrap(thrown);
      return evaluator.endedBy(thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : "Error");
    }
    return evaluator.outcome;
  }
}

function surroundings({ wasm }: Engine, memoryMb: number) {
  let served: GuestVm | undefined;
  type Name = (typeof hostFunctions)[number];
  return {
    options: {
      wasm,
      memoryLimit: memoryMb * 1_024 * 1_024,
      maxStackSize: stackBytes,
      interruptHandler: () => served?.mustStop() ?? false,
      timezoneOffset: 0,
      // The engine's own messages would end up between our frames.
      wasi: () => ({ fd_write: () => 0 }),
    } satisfies quickjs.QuickJSOptions,
    hostFunction:
      (name: Name): quickjs.HostFunction =>
      (...parts) =>
        served!.receive(name, parts),
    serve: (vm: GuestVm): GuestVm => (served = vm),
  };
}

/** Of the engine's binary, and not of what it runs. */
function isTrap(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.constructor.name === "RuntimeError";
}
