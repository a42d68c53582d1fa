/**
 * The guest process's side of the protocol, and what all guests do before they read any code. Node's permission model
 * lets a guest read only what it imports, so this imports as little as possible.
 */
import { readSync, writeSync } from "node:fs";
import {
  type FrameKind,
  type GuestAnswer,
  type GuestRequest,
  packBundle,
  packFrame,
  requestHead,
  unpackFiles,
  unpackHeader,
} from "./protocol.ts";

const [stdin, stdout] = [0, 1];

/** The workspace as a guest has it: paths relative to it; folders have no content. */
export type Tree = ReadonlyMap<string, Uint8Array | "folder">;

export interface Received {
  readonly request: GuestRequest;
  readonly tree: Tree;
}

/** Gives up what a guest must not have, and says so: from now on code may come. */
export function confine(): void {
  dropRoot();
  refuseUnlessConfined();
  send("ready", new Uint8Array());
}

/** Waits for a request. Ends the process when none comes any more: the pool closed, or the server is gone. */
export function receive(): Received {
  const bundle = read(read(requestHead).readUInt32BE());
  send("begun", new Uint8Array());
  const { header, rest } = unpackHeader(bundle);
  const request = header as GuestRequest;
  const contents = unpackFiles(request.files, rest);
  const tree = new Map<string, Uint8Array | "folder">(request.folders.map((path) => [path, "folder"]));
  for (const [index, { path }] of request.files.entries()) tree.set(path, contents[index]!);
  return { request, tree };
}

function read(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let received = 0; received < length;) {
    const more = orWait(() => readSync(stdin, bytes, received, length - received, null));
    if (more === 0) process.exit(0);
    received += more ?? 0;
  }
  return bytes;
}

export function send(kind: FrameKind, payload: Uint8Array): void {
  const frame = packFrame(kind, payload);
  for (let sent = 0; sent < frame.length;) sent += orWait(() => writeSync(stdout, frame, sent)) ?? 0;
}

const pause = new Int32Array(new SharedArrayBuffer(4));

/** A library may have made a pipe one that does not wait: then it says so, and this waits instead. */
function orWait(step: () => number): number | undefined {
  try {
    return step();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
    Atomics.wait(pause, 0, 0, 1);
    return undefined;
  }
}

/** Sends the answer with the difference between the trees. */
export function answer(
  outcome: Pick<GuestAnswer, "status" | "exitCode" | "json" | "error">,
  trees?: { before: Tree; after: Tree; skipped: number },
): void {
  const { before, after, skipped } = trees ?? { before: new Map(), after: new Map(), skipped: 0 };
  const changed = [...after].filter(([path, content]) => !isSame(before.get(path), content));
  const files = changed.filter((entry): entry is [string, Uint8Array] => entry[1] !== "folder");
  const header: GuestAnswer = {
    ...outcome,
    folders: changed.filter(([, content]) => content === "folder").map(([path]) => path),
    files: files.map(([path, content]) => ({ path, size: content.length })),
    deleted: [...before.keys()].filter((path) => !after.has(path)),
    skipped,
  };
  const contents = files.map(([, content]) => content);
  send("answer", packBundle(header, contents));
}

function isSame(a: Uint8Array | "folder" | undefined, b: Uint8Array | "folder"): boolean {
  if (a === undefined || a === "folder" || b === "folder") return a === b;
  return Buffer.from(a.buffer, a.byteOffset, a.length).equals(b);
}

/** Under root each guest gets a user id of its own, so that an escape from the VM is not root and cannot signal another guest. */
function dropRoot(): void {
  if (process.getuid?.() !== 0) return;
  const own = 70_000 + process.pid;
  try {
    become(own);
  } catch {
    become(65_534); // a container whose user namespace maps only 65,536 ids
  }
}

function become(id: number): void {
  process.setgroups?.([]);
  process.setgid?.(id);
  process.setuid?.(id);
}

/** Fails closed: a guest that finds itself with more than it should have evaluates nothing. */
function refuseUnlessConfined(): void {
  const { permission } = process;
  const excess =
    Object.keys(process.env).length > 0 ||
    !permission ||
    permission.has("fs.read", "/etc/passwd") ||
    permission.has("fs.write") ||
    permission.has("child") ||
    permission.has("worker");
  if (excess) process.exit(78);
}
