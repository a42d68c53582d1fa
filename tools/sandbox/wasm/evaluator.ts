/** One evaluation in a guest's VM: what it may do, and what came of it. Runs in the guest process only. */
import { randomUUID } from "node:crypto";
import type { GuestAnswer, GuestRequest, GuestStatus } from "./protocol.ts";

export type VmRequest = Pick<GuestRequest, "code" | "timeoutMs" | "maxOutput" | "resultBytes">;
export type Outcome = Pick<GuestAnswer, "status" | "json" | "error">;
export type Print = (text: string) => void;

export class Evaluator {
  /** Promises of an earlier evaluation may settle in a later one, and are not its result. */
  readonly id = randomUUID();
  readonly #request: VmRequest;
  readonly #print: Print;
  readonly #deadline: number;
  #printed = 0;
  #stopped: GuestStatus | undefined;
  #outcome: Outcome | undefined;

  constructor(request: VmRequest, print: Print) {
    this.#request = request;
    this.#print = print;
    this.#deadline = performance.now() + request.timeoutMs;
  }

  get code(): string {
    return this.#request.code;
  }

  get outcome(): Outcome {
    return this.#stopped ? { status: this.#stopped } : (this.#outcome ?? waiting);
  }

  endedBy(error: string): Outcome {
    this.#outcome ??= failed(error);
    return this.outcome;
  }

  mustStop(): boolean {
    if (!this.#stopped && performance.now() > this.#deadline) this.#stopped = "timeout";
    return this.#stopped !== undefined;
  }

  write(line = ""): void {
    if (this.#stopped) return;
    this.#printed += Buffer.byteLength(line);
    this.#print(line);
    // Later lines are not wanted, and the engine stops at its next question.
    if (this.#printed > this.#request.maxOutput) this.#stopped = "output_limit";
  }

  report(id?: string, kind?: string, said = ""): void {
    if (id !== this.id) return;
    if (kind === "error") this.#outcome = failed(said);
    else if (Buffer.byteLength(said) > this.#request.resultBytes) {
      this.#outcome = { status: "output_limit", error: `The result is larger than ${this.#request.resultBytes} bytes` };
    } else this.#outcome = { status: "ok", ...(said && { json: said }) };
  }
}

const waiting: Outcome = {
  status: "error",
  error: "The code waits for something that never happens: there are no timers and there is no network",
};

/** The engine says "out of memory" in its own words; a guest that says so too only fools itself. */
function failed(error: string): { status: GuestStatus; error: string } {
  return {
    status: /^(?:Error: Job execution error: )?InternalError: out of memory/.test(error) ? "oom" : "error",
    error,
  };
}
