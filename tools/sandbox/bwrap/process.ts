/** One guest in bwrap, from our side. Its process namespace dies with bwrap's first process, and that with us. */
import { type ChildProcess, spawn } from "node:child_process";
import { Readable, type Writable } from "node:stream";
import { childrenOf, killProcess } from "../native/processes.ts";
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
  readonly stdin: string | AsyncIterable<string>;
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
  return { ancestor: child.pid ?? 0, ended: end(child, streams), kill: () => kill(child) };
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

/**
 * The namespace's first process rather than bwrap, which then buries it: killed the other way round it would be left to
 * the machine's init, and a container may have none. Before there is one, or if bwrap does not end, bwrap itself.
 */
function kill(child: ChildProcess): void {
  const first = child.pid === undefined ? [] : childrenOf(child.pid);
  for (const pid of first) killProcess(pid);
  if (first.length === 0) child.kill("SIGKILL");
  else setTimeout(() => child.kill("SIGKILL"), closeMs).unref();
}

/** A guest need not read what it is given. */
function feed(into: Writable, content: Buffer | string | AsyncIterable<string>): void {
  into.on("error", () => {});
  if (typeof content === "string" || Buffer.isBuffer(content)) into.end(content);
  else Readable.from(content).pipe(into);
}
