/**
 * One bwrap, from our side: it makes the namespaces, and a shell in them waits at a gate for the one command that it
 * becomes. So it can be started ahead. Its process namespace dies with its first process, and that with us.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { Readable, type Writable } from "node:stream";
import type { Group } from "../cgroup/group.ts";
import { childrenOf, killProcess } from "../native/processes.ts";
import type { Guest, GuestExit } from "../native/run.ts";
import type { OutputChunk } from "../types.ts";
import { filterDescriptor } from "./arguments.ts";
import type { GateInput } from "./gate.ts";

/** The namespace is gone milliseconds after bwrap is; who still holds the output then is not in it. */
const closeMs = 1_000;

interface BoxStart {
  readonly command: string;
  readonly args: readonly string[];
  /** User and group of the command. */
  readonly account?: number | undefined;
  readonly filter: Buffer;
  /** For all of it; removed with it. */
  readonly group?: Group | undefined;
  /** The command puts itself into the group. */
  readonly isSelfEntering?: boolean;
}

const outputs = ["stdout", "stderr"] as const;

export class Box {
  /** What it is in, once `ready`. */
  readonly group: Group | undefined;
  /** When no guest could be outside its group any more. Rejects when it cannot get in. */
  readonly ready: Promise<void>;
  readonly #child: ChildProcess;
  /** When nothing that it started is left. */
  readonly ended: Promise<GuestExit>;
  /** When its group is gone too, which no result waits for. */
  readonly removed: Promise<void>;
  #isGone = false;

  constructor({ command, args, account, filter, group, isSelfEntering }: BoxStart) {
    this.#child = spawn(command, args, {
      cwd: "/",
      env: {},
      detached: true,
      stdio: ["pipe", "pipe", "pipe", "pipe"],
      ...(account !== undefined && { uid: account, gid: account }),
    });
    const filterInput = this.#child.stdio[filterDescriptor] as Writable;
    // A guest need not read what it is given.
    for (const input of [filterInput, this.#child.stdin!]) input.on("error", () => {});
    filterInput.end(filter);
    this.group = group;
    this.ready = isSelfEntering ? Promise.resolve() : this.#enter(group);
    this.ready.catch(() => {}); // whoever uses it asks
    this.ended = this.#end();
    this.removed = this.ended.then(() => group?.remove());
  }

  async #enter(group: Group | undefined): Promise<void> {
    if (this.#child.pid !== undefined) await group?.enter(this.#child.pid);
  }

  /** Whether it ended while it waited. */
  get isGone(): boolean {
    return this.#isGone;
  }

  /** Opens the gate, once. */
  begin(
    { header, stdin }: { header: GateInput; stdin: string | AsyncIterable<string> },
    write: (stream: OutputChunk["stream"], chunk: Buffer) => void,
  ): Guest {
    this.#hold(true);
    for (const name of outputs) this.#child[name]!.on("data", (chunk: Buffer) => write(name, chunk));
    const input = this.#child.stdin!;
    if (typeof stdin === "string") input.end(Buffer.concat([header, Buffer.from(stdin)]));
    else {
      input.write(header);
      Readable.from(stdin).pipe(input);
    }
    return { ancestor: this.#child.pid ?? 0, ended: this.ended, kill: () => this.kill() };
  }

  /** Lets our process end though it waits. */
  rest(): void {
    this.#hold(false);
  }

  /**
   * The namespace's first process rather than bwrap, which then buries it: killed the other way round it would be left
   * to the machine's init, and a container may have none. Before there is one, or if bwrap does not end, bwrap itself.
   */
  kill(): void {
    if (this.#isGone) return;
    this.#hold(true); // whoever waits for the end must not see the event loop run dry first
    const first = this.#child.pid === undefined ? [] : childrenOf(this.#child.pid);
    for (const pid of first) killProcess(pid);
    if (first.length === 0) this.#child.kill("SIGKILL");
    else setTimeout(() => this.#child.kill("SIGKILL"), closeMs).unref();
  }

  #end(): Promise<GuestExit> {
    const child = this.#child;
    return new Promise((resolve) => {
      let exit: GuestExit = { code: null, signal: null };
      let timer: NodeJS.Timeout | undefined;
      child.once("error", ({ message }) => {
        this.#isGone = true;
        resolve({ ...exit, error: message });
      });
      child.once("exit", (code, signal) => {
        this.#isGone = true;
        exit = { code, signal };
        // Nobody may have asked for what it printed.
        for (const name of outputs) child[name]!.resume();
        timer = setTimeout(() => outputs.forEach((name) => child[name]!.destroy()), closeMs);
      });
      child.once("close", () => {
        clearTimeout(timer);
        resolve(exit);
      });
    });
  }

  #hold(alive: boolean): void {
    // The pipes are sockets; the types of `stdio` do not say so.
    const pipes = [this.#child.stdin, this.#child.stdout, this.#child.stderr] as unknown as (Readable & Handle)[];
    for (const handle of [this.#child as Handle, ...pipes]) {
      if (alive) handle.ref();
      else handle.unref();
    }
  }
}

interface Handle {
  ref(): void;
  unref(): void;
}
