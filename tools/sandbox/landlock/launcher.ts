/**
 * Main file of a launcher: a process that takes every right away from itself and then does nothing but start guests,
 * which inherit that. It reads no file and holds no secret. Landlock and seccomp hold for one thread and its children:
 * this program has one thread of its own, never calls an asynchronous function of `fs`, and starts no other.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeSync } from "node:fs";
import { seccompFilter } from "../seccomp/filter.ts";
import * as kernel from "./kernel.ts";
import type { Confinement, FromLauncher, GuestCommand, ToLauncher } from "./protocol.ts";
import { requireLandlock, restrictFiles } from "./ruleset.ts";

const server = process.ppid;
const killToken = [randomWord(), randomWord()] as const;
let account: number | undefined;
let running: ChildProcess | undefined;
let confined = false;

// What a guest leaves behind becomes a child of this process and not of the machine's init.
kernel.requireKnownMachine();
kernel.prctl(kernel.prctlOptions.childSubreaper, 1);
kernel.prctl(kernel.prctlOptions.dumpable, 0);

process.on("message", (message: ToLauncher) => {
  if (message.do === "confine") confine(message.confinement);
  else if (message.do === "run") run(message.guest);
  else if (message.do === "input") feed(message.text);
  else killGuests();
});
// The server is gone, or is done with us.
process.on("disconnect", () => {
  killGuests();
  process.exit(0);
});

function confine(confinement: Confinement): void {
  try {
    ({ account } = confinement);
    const sharesUser = account === undefined;
    const abi = requireLandlock(sharesUser);
    if (confinement.bind) kernel.bindFolder(confinement.bind.from, confinement.bind.to);
    kernel.limitResource(kernel.resources.core, 0);
    kernel.limitResource(kernel.resources.fileSize, confinement.fileMb * 1_024 * 1_024);
    kernel.limitResource(kernel.resources.openFiles, confinement.openFiles);
    kernel.limitResource(kernel.resources.tasks, confinement.tasks);
    kernel.prctl(kernel.prctlOptions.noNewPrivileges, 1);
    restrictFiles(abi, confinement);
    const filter = seccompFilter({ network: "none", sharesUser, launcher: { pid: process.pid, killToken } });
    if (!filter) throw new Error(`There is no system call filter for ${process.arch}`);
    kernel.setSeccompFilter(filter);
    // `killGuests` signals all that it may. Before it is ever called, the kernel must have shown that the server is not among that.
    if (sharesUser && canSignal(server)) throw new Error("Signals leave the sandbox");
    confined = true;
    send({ is: "confined", abi });
  } catch (error) {
    send({ is: "unconfined", reason: error instanceof Error ? error.message : "unknown" });
    process.disconnect();
  }
}

function canSignal(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "EPERM";
  }
}

function run({ command, args, env, cwd, stdin, isOpen, mark }: GuestCommand): void {
  if (!confined || running) throw new Error("Not ready for a guest");
  const guest = spawn(command, args, {
    cwd,
    env,
    detached: true,
    stdio: [stdin === "" && !isOpen ? "ignore" : "pipe", "inherit", "inherit"],
    ...(account !== undefined && { uid: account, gid: account }),
  });
  running = guest;
  guest.stdin?.on("error", () => {}); // a guest need not read its input
  if (!isOpen) guest.stdin?.end(stdin);
  guest.once("error", (error) => end({ is: "ended", code: null, signal: null, error: error.message }, mark));
  guest.once("exit", (code, signal) => end({ is: "ended", code, signal }, mark));
}

/** It may be gone by now. */
function feed(text: string | null): void {
  if (text === null) running?.stdin?.end();
  else running?.stdin?.write(text);
}

/** The answer goes out when no process of the guest is left: a fact, as its last descendant is reaped here. */
function end(answer: FromLauncher, mark: string): void {
  killGuests();
  kernel.reapAll();
  running = undefined;
  const bytes = Buffer.from(mark, "latin1");
  for (const descriptor of [1, 2]) writeAll(descriptor, bytes);
  send(answer);
}

/**
 * All processes of this sandbox, however they detached themselves. With an account of their own, by acting as it,
 * where even a kernel without scopes lets nothing else be hit; else by the scope that Landlock draws.
 */
function killGuests(): void {
  if (!confined) return;
  if (account !== undefined) kernel.actAs(account);
  try {
    kernel.killAllReachable(killToken);
  } finally {
    if (account !== undefined) kernel.actAs(0);
  }
}

/** A guest may have made the shared stream non-blocking, or closed it for all. */
function writeAll(descriptor: number, bytes: Buffer): void {
  for (let written = 0; written < bytes.length;) {
    try {
      written += writeSync(descriptor, bytes, written);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") return process.exit(70);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

function send(message: FromLauncher): void {
  process.send?.(message);
}

function randomWord(): bigint {
  return randomBytes(8).readBigUInt64LE();
}
