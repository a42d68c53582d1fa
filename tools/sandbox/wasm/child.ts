/** One guest process, seen from our side: started ahead, used by one owner, always killed. */
import { z } from "zod";
import { type Confined, type Exit, spawnConfined } from "../process.ts";
import type { GuestProgram } from "./programs.ts";
import {
  type FrameKind,
  FrameReader,
  type GuestAnswer,
  guestStatuses,
  packRequest,
  unpackFiles,
  unpackHeader,
} from "./protocol.ts";

/** What the guest did to its copy of the workspace, with the new contents. */
export interface Answer extends GuestAnswer {
  readonly contents: readonly Buffer[];
}

/** How a call ended: with an answer, or by what stopped the process. */
export type GuestEnd = Answer | { readonly status: "timeout" | "killed" | "oom" | "output_limit" };

export interface GuestCall {
  readonly bundle: Buffer;
  readonly timeoutMs: number;
  readonly maxAnswer: number;
  readonly signal: AbortSignal | undefined;
  /** Gets the output as it comes. Returns false when it was too much. */
  readonly onOutput: (stream: "stdout" | "stderr", chunk: Buffer) => boolean;
}

/** A VM that is at its deadline answers by itself; only one stuck in a native loop is shot, this much later. */
const graceMs = 250;
/**
 * After so many calls, so much time in them or so much memory a process serves no more: what it leaks stays small, and
 * the CPU time that the kernel allows it (see `reuseCpuSeconds`) always has room for one call more.
 */
const mostCalls = 5_000; // a process costs as much as some hundred calls
const mostBusyMs = 5_000;
const mostMemoryMb = 200;
const memoryEvery = 10;
/** Output comes in frames of at most this, unless the guest was taken over. */
const maxOutputFrame = 64 * 1_024 * 1_024;

/** The call that a guest is working on. */
interface Current {
  readonly call: GuestCall;
  readonly answered: PromiseWithResolvers<void>;
  answer?: Answer;
  hasBegun: boolean;
}

export class GuestChild {
  readonly #ready = Promise.withResolvers<void>();
  readonly #process: Confined;
  #current: Current | undefined;
  #calls = 0;
  #busyMs = 0;
  /** Nothing was ever wrong with it, and it is not at work. */
  #isSound = true;
  #isGone = false;
  #end: "timeout" | "killed" | "output_limit" | undefined;

  constructor(program: GuestProgram) {
    this.#process = spawnConfined(process.execPath, program.args, program.limits);
    this.#listen();
  }

  /** Whether it ended while it waited: somebody killed it, or the machine ran short of memory. */
  get isGone(): boolean {
    return this.#isGone;
  }

  /** Resolves when the process is ready for code. Rejects when it ended before, took too long, or `signal` aborted. */
  async start(timeoutMs: number, signal?: AbortSignal): Promise<void> {
    this.#process.hold(true);
    await this.#boundedBy(timeoutMs, signal, this.#ready.promise);
  }

  /**
   * Resolves with the answer, or when the process is gone. Rejects when it went before it had the request: no code ran,
   * and another guest may try. One call at a time.
   */
  async evaluate(call: GuestCall): Promise<GuestEnd> {
    const current: Current = { call, answered: Promise.withResolvers(), hasBegun: false };
    this.#current = current;
    this.#isSound = false;
    this.#calls++;
    const started = performance.now();
    this.#process.stdin.write(packRequest(call.bundle));
    const working = Promise.race([current.answered.promise, this.#process.ended]);
    const exit = await this.#boundedBy(call.timeoutMs + graceMs, call.signal, working);
    // Whatever it says from now on, before it is asked again, is nobody's answer, and ends it.
    this.#current = undefined;
    this.#busyMs += performance.now() - started;
    const end = this.#verdict(current, exit);
    this.#isSound = this.#end === undefined && (end.status === "ok" || end.status === "error");
    return end;
  }

  /** Whether it is as good as new for its owner: it answered in an orderly way, and did not yet work or grow too much. */
  get mayServeAgain(): boolean {
    return this.#isSound && !this.#isGone && this.#calls < mostCalls && this.#busyMs < mostBusyMs && !this.#hasGrown();
  }

  /** Now and then: asking costs as much as a fifth of a call. Between two looks the kernel's limit holds. */
  #hasGrown(): boolean {
    return this.#calls % memoryEvery === 0 && this.#process.memoryMb() > mostMemoryMb;
  }

  /** Keeps no process alive while nobody waits for it. */
  rest(): void {
    this.#process.hold(false);
  }

  async kill(): Promise<void> {
    this.#process.hold(true); // whoever waits for the end must not see the event loop run dry first
    this.#process.kill();
    await this.#process.ended;
  }

  #stop(status: "timeout" | "killed" | "output_limit"): void {
    this.#end ??= status;
    this.#process.kill();
  }

  async #boundedBy<T>(timeoutMs: number, signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
    const onAbort = (): void => this.#stop("killed");
    const timer = setTimeout(() => this.#stop("timeout"), timeoutMs);
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted) onAbort();
    try {
      return await work;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  #listen(): void {
    const frames = new FrameReader(maxOutputFrame, (kind, payload) => this.#receive(kind, payload));
    this.#process.stdout.on("data", (chunk: Buffer) => {
      try {
        if (!this.#end) frames.push(chunk);
      } catch {
        this.#stop("killed"); // it does not speak our protocol: somebody else's code is in it
      }
    });
    void this.#process.ended.then(({ code, signal }) => {
      this.#isGone = true;
      this.#ready.reject(new Error(`The guest process ended before it was ready (${signal ?? code})`));
    });
    this.#ready.promise.catch(() => {}); // an idle child that dies is noticed when it is taken
  }

  #receive(kind: FrameKind, payload: Buffer): void {
    if (kind === "ready") return this.#ready.resolve();
    const current = this.#current;
    if (!current || current.answer) throw new Error("The guest spoke before it was asked");
    if (kind === "begun") current.hasBegun = true;
    else if (kind === "answer") {
      if (payload.length > current.call.maxAnswer) return this.#stop("output_limit");
      current.answer = parseAnswer(payload);
      current.answered.resolve();
    } else if (!current.call.onOutput(kind, payload)) this.#stop("output_limit");
  }

  #verdict({ answer, hasBegun }: Current, exit: Exit | void): GuestEnd {
    if (answer && (!this.#end || this.#end === "output_limit")) {
      return this.#end ? { ...answer, status: this.#end } : answer;
    }
    if (this.#end) return { status: this.#end };
    if (!hasBegun) throw new Error("The guest process ended while it waited");
    // V8 aborts when the kernel refuses it memory; anything else that ends it early is a limit or a hand.
    const aborted = exit?.signal === "SIGABRT" || exit?.signal === "SIGTRAP" || exit?.signal === "SIGSEGV";
    return { status: aborted ? "oom" : "killed" };
  }
}

/** The answer comes from a process that ran untrusted code: checked as any input from outside. */
const path = z.string().min(1).max(4_096);
const AnswerHeader: z.ZodType<GuestAnswer> = z.object({
  status: z.enum(guestStatuses),
  exitCode: z.int().nullable(),
  json: z.string().optional(),
  error: z.string().optional(),
  folders: z.array(path),
  files: z.array(z.object({ path, size: z.int().min(0) })),
  deleted: z.array(path),
  skipped: z.int().min(0),
});

function parseAnswer(payload: Buffer): Answer {
  const { header, rest } = unpackHeader(payload);
  const answer = AnswerHeader.parse(header);
  return { ...answer, contents: unpackFiles(answer.files, rest) };
}
