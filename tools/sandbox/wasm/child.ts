/** One guest process, seen from our side: started ahead, used once, always killed. */
import { realpathSync } from "node:fs";
import { createRequire, findPackageJSON } from "node:module";
import { dirname, extname, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { z } from "zod";
import { type Confined, type Exit, spawnConfined } from "../process.ts";
import { type Evaluation, evaluationStatuses, type GuestRequest, readyLine } from "./protocol.ts";

export interface GuestLimits {
  readonly cpuSeconds: number;
  readonly jsMemMb: number;
  readonly openFiles: number;
}

/** How a call ended: with an answer, or by what stopped the process. */
export type GuestEnd = Evaluation | { readonly status: "timeout" | "killed" | "oom" | "output_limit" };

/** What Node 24 counts as data when a guest waits for its code: 585 MB, of which V8's code range is 512, unused. */
const idleDataMb = 640;
/** On top of it, in sizes of the VM: its memory, and our copies of a string that fills it. */
const vmsOfRoom = 4;
/** Node needs about 25 descriptors to start. */
const openFilesFloor = 64;
/** A VM that is at its deadline answers by itself; only one stuck in a native loop is shot, this much later. */
const graceMs = 250;

export class GuestChild {
  readonly #ready = Promise.withResolvers<void>();
  readonly #answered = Promise.withResolvers<void>();
  readonly #process: Confined;
  #received = "";
  #isGone = false;
  #maxReceived = readyLine.length;
  #end: "timeout" | "killed" | "output_limit" | undefined;

  constructor(limits: GuestLimits) {
    this.#process = spawnConfined(
      process.execPath,
      [...nodeFlags(), guestFile, String(limits.jsMemMb), ...engineFiles],
      {
        cpuSeconds: limits.cpuSeconds,
        dataMb: idleDataMb + vmsOfRoom * limits.jsMemMb,
        openFiles: Math.max(openFilesFloor, limits.openFiles),
        fileMb: 0,
      },
    );
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

  /** Resolves with the answer, or when the process is gone. An answered process is of no more use: kill it. */
  async evaluate(request: GuestRequest, signal?: AbortSignal): Promise<GuestEnd> {
    // Each byte of text is at most six in JSON (\u0000).
    this.#maxReceived += 6 * (request.outputBytes + request.resultBytes) + 64 * 1_024;
    this.#process.stdin.end(JSON.stringify(request));
    const end = Promise.race([this.#answered.promise, this.#process.ended]);
    const exit = await this.#boundedBy(request.timeoutMs + graceMs, signal, end);
    return this.#verdict(exit);
  }

  /** Keeps no process alive while nobody waits for it. */
  rest(): void {
    this.#process.hold(false);
  }

  async kill(): Promise<void> {
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
    this.#process.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      this.#received += chunk;
      if (this.#received.length > this.#maxReceived) this.#stop("output_limit");
      else if (this.#received.endsWith("\n")) (this.#received === readyLine ? this.#ready : this.#answered).resolve();
    });
    void this.#process.ended.then(({ code, signal }) => {
      this.#isGone = true;
      this.#ready.reject(new Error(`The guest process ended before it was ready (${signal ?? code})`));
    });
    this.#ready.promise.catch(() => {}); // an idle child that dies is noticed when it is taken
  }

  #verdict(exit: Exit | void): GuestEnd {
    if (this.#end) return { status: this.#end };
    const answer = parseEvaluation(this.#received.slice(readyLine.length));
    if (answer) return answer;
    // V8 aborts when the kernel refuses it memory; anything else that ends it early is a limit or a hand.
    const aborted = exit?.signal === "SIGABRT" || exit?.signal === "SIGTRAP" || exit?.signal === "SIGSEGV";
    return { status: aborted ? "oom" : "killed" };
  }
}

/** The answer comes from a process that ran untrusted code: checked as any input from outside. */
const Answer: z.ZodType<Evaluation> = z.object({
  status: z.enum(evaluationStatuses),
  json: z.string().optional(),
  error: z.string().optional(),
  console: z.string(),
  bytesDropped: z.number().int().min(0),
});

function parseEvaluation(text: string): Evaluation | undefined {
  try {
    return Answer.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** `guest.ts` beside `child.ts`, `guest.js` beside `child.js`. Real paths: Node's permission model compares those. */
const extension = extname(import.meta.url);
const guestFile = realpathSync(fileURLToPath(new URL(`guest${extension}`, import.meta.url)));
const { resolve: locate } = createRequire(guestFile);
const engineFiles = [locate("quickjs-wasi"), locate("quickjs-wasi/quickjs.wasm")];

/**
 * Node's permission model as a second line of defence: it is not a boundary (its own words), the VM is. It names
 * each file that the guest imports, so it also notices when somebody adds an import.
 */
function nodeFlags(): string[] {
  const own = ["guest", "vm", "prelude", "protocol", "../output"].map((name) =>
    resolve(guestFile, "..", name + extension),
  );
  const engine = dirname(locate("quickjs-wasi/package.json"));
  // Node reads the nearest package.json to learn that our files are ES modules.
  const readable = [...own, engine, findPackageJSON(pathToFileURL(guestFile))].filter((path) => path !== undefined);
  return [
    "--permission",
    ...readable.map((path) => `--allow-fs-read=${path}`),
    "--disallow-code-generation-from-strings",
    "--max-old-space-size=64",
    "--v8-pool-size=1",
  ];
}
