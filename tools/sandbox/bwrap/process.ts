/** One guest in bwrap, from our side. Its process namespace dies with bwrap's first process, and that with us. */
import { type ChildProcess, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import type { Guest, GuestExit } from "../native/run.ts";
import type { OutputChunk } from "../types.ts";
import { filterDescriptor } from "./arguments.ts";

/** The namespace is gone milliseconds after bwrap is; who still holds the output then is not in it. */
const closeMs = 1_000;

export interface BwrapStart {
  readonly command: string;
  readonly args: readonly string[];
  /** User and group of the command. */
  readonly account?: number | undefined;
  readonly filter: Buffer;
  readonly stdin: string;
}

export function startBwrap(
  { command, args, account, filter, stdin }: BwrapStart,
  write: (stream: OutputChunk["stream"], chunk: Buffer) => void,
): Guest {
  const child = spawn(command, args, {
    cwd: "/",
    env: {},
    detached: true,
    stdio: [stdin === "" ? "ignore" : "pipe", "pipe", "pipe", "pipe"],
    ...(account !== undefined && { uid: account, gid: account }),
  });
  feed(child.stdio[filterDescriptor] as Writable, filter);
  if (child.stdin) feed(child.stdin, stdin);
  const streams = (["stdout", "stderr"] as const).map((name) => {
    const stream = child[name] as Readable;
    stream.on("data", (chunk: Buffer) => write(name, chunk));
    return stream;
  });
  return { ancestor: child.pid ?? 0, ended: end(child, streams), kill: () => void child.kill("SIGKILL") };
}

function end(child: ChildProcess, streams: readonly Readable[]): Promise<GuestExit> {
  return new Promise((resolve) => {
    let exit: GuestExit = { code: null, signal: null };
    let timer: NodeJS.Timeout | undefined;
    child.once("error", ({ message }) => resolve({ ...exit, error: message }));
    child.once("exit", (code, signal) => {
      exit = { code, signal };
      timer = setTimeout(() => streams.forEach((stream) => stream.destroy()), closeMs);
    });
    child.once("close", () => {
      clearTimeout(timer);
      resolve(exit);
    });
  });
}

/** A guest need not read what it is given. */
function feed(into: Writable, content: Buffer | string): void {
  into.on("error", () => {});
  into.end(content);
}
