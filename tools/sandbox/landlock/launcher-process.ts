/** A launcher, seen from our side. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { extname } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { Refusal } from "../native/refusal.ts";
import type { Guest, GuestExit } from "../native/run.ts";
import { killTree } from "../native/processes.ts";
import type { OutputChunk, RunRequest } from "../types.ts";
import { GuestStream } from "./guest-paths.ts";
import type { Confinement, FromLauncher, GuestCommand, ToLauncher } from "./protocol.ts";

const launcherFile = fileURLToPath(new URL(`launcher${extname(import.meta.url)}`, import.meta.url));

/** A launcher that does not end its guests in this time is shot, and they with it. */
const killMs = 500;

interface GuestStreams {
  /** From the names of folders on this machine to the guest's. */
  readonly names: readonly (readonly [string, string])[];
  write(stream: OutputChunk["stream"], chunk: Buffer): void;
  readonly input: RunRequest["stdin"];
}

type LauncherChild = ChildProcess & { readonly stdout: Readable; readonly stderr: Readable };

export class Launcher {
  readonly #child: LauncherChild;
  readonly #gone = Promise.withResolvers<void>();
  #isGone = false;

  constructor() {
    this.#child = spawn(process.execPath, ["--max-old-space-size=32", launcherFile], {
      env: {},
      cwd: "/",
      detached: true,
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    }) as LauncherChild;
    const gone = (): void => {
      this.#isGone = true;
      this.#gone.resolve();
    };
    this.#child.once("exit", gone).once("error", gone);
    this.#hold(false);
  }

  /** 0 where it could not be started. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** Rejects with the reason when the machine cannot. */
  async confine(confinement: Confinement): Promise<void> {
    const answer = await this.#ask({ do: "confine", confinement });
    if (answer?.is !== "confined") throw new Refusal(answer?.is === "unconfined" ? answer.reason : notStarted);
  }

  run(command: Omit<GuestCommand, "mark" | "stdin" | "isOpen">, streamsOf: GuestStreams): Guest {
    const mark = randomBytes(16);
    const { names, input = "" } = streamsOf;
    const isOpen = typeof input === "object";
    const streams = (["stdout", "stderr"] as const).map((name) => {
      const stream = new GuestStream(mark, names, (chunk) => streamsOf.write(name, chunk));
      return collect(this.#child[name], stream);
    });
    const guest = { ...command, stdin: isOpen ? "" : input, isOpen, mark: mark.toString("latin1") };
    const ended = this.#ask({ do: "run", guest }).then(async (answer): Promise<GuestExit> => {
      await Promise.race([Promise.all(streams.map((stream) => stream.ended)), this.#gone.promise]);
      for (const stream of streams) stream.stop();
      return answer?.is === "ended" ? answer : { code: null, signal: "SIGKILL" };
    });
    if (isOpen) void this.#feed(input, ended);
    return { ancestor: this.pid, ended, kill: () => this.#killGuest(ended) };
  }

  /** Ends it and its guests. */
  async close(): Promise<void> {
    this.#hold(true);
    if (this.#child.connected) this.#child.disconnect();
    const timer = setTimeout(() => this.#shoot(), killMs);
    await this.#gone.promise;
    clearTimeout(timer);
  }

  /** Nothing of it may reach the next guest. */
  async #feed(input: AsyncIterable<string>, ended: Promise<unknown>): Promise<void> {
    let isOver = false;
    void ended.then(() => (isOver = true));
    for await (const text of input) {
      if (isOver) return;
      this.#send({ do: "input", text });
    }
    if (!isOver) this.#send({ do: "input", text: null });
  }

  #killGuest(ended: Promise<unknown>): void {
    this.#send({ do: "kill" });
    const timer = setTimeout(() => this.#shoot(), killMs);
    void ended.finally(() => clearTimeout(timer));
  }

  #shoot(): void {
    if (this.#child.pid !== undefined && !this.#isGone) killTree(this.#child.pid);
  }

  /** Undefined when it is gone before it answers. It keeps our process alive only meanwhile. */
  async #ask(message: ToLauncher): Promise<FromLauncher | undefined> {
    this.#hold(true);
    const answer = Promise.withResolvers<FromLauncher>();
    const onMessage = (value: unknown): void => answer.resolve(value as FromLauncher);
    this.#child.once("message", onMessage);
    this.#send(message);
    try {
      return await Promise.race([answer.promise, this.#gone.promise.then(() => undefined)]);
    } finally {
      this.#child.off("message", onMessage);
      this.#hold(false);
    }
  }

  #send(message: ToLauncher): void {
    // A launcher that is gone does not get it; its `exit` tells.
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  #hold(alive: boolean): void {
    // The pipes are sockets; the types of `stdio` do not say so.
    const pipes = [this.#child.stdout, this.#child.stderr] as unknown as { ref(): void; unref(): void }[];
    for (const handle of [this.#child, this.#child.channel, ...pipes]) {
      if (alive) handle?.ref();
      else handle?.unref();
    }
  }
}

const notStarted = "The launcher did not start; is the package koffi installed?";

/** Hands over what `from` says until the mark has come. */
function collect(from: Readable, stream: GuestStream): { readonly ended: Promise<void>; stop(): void } {
  const ended = Promise.withResolvers<void>();
  const onData = (chunk: Buffer): void => {
    stream.push(chunk);
    if (stream.ended) ended.resolve();
  };
  const onClose = (): void => ended.resolve();
  from.on("data", onData).once("close", onClose);
  return {
    ended: ended.promise,
    stop: () => {
      from.off("data", onData).off("close", onClose);
      stream.flush();
    },
  };
}
