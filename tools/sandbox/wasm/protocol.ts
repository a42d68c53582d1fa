/**
 * What travels between us and a guest process: for each call a bundle in, then frames out, of which the answer is the
 * last. No schema library here, since every guest process loads this file.
 */

/** A file of the workspace; its bytes follow the header of the bundle, in this order. */
export interface FileHead {
  /** Relative to the workspace. */
  readonly path: string;
  readonly size: number;
}

/**
 * Among the files of a request for JavaScript, which has no other: the globals that it starts from, empty for none.
 * The answer has it again, as it is then.
 */
export const globalsFile = "/globals";

export interface GuestRequest {
  readonly code: string;
  readonly stdin: string;
  /** Relative to the workspace. */
  readonly cwd: string;
  /** From the moment the guest reads this. */
  readonly timeoutMs: number;
  /** A guest that can stops itself after this many bytes; we stop any other. */
  readonly maxOutput: number;
  readonly resultBytes: number;
  readonly folders: readonly string[];
  readonly files: readonly FileHead[];
}

export const guestStatuses = ["ok", "error", "timeout", "oom", "output_limit"] as const;
export type GuestStatus = (typeof guestStatuses)[number];

export interface GuestAnswer {
  readonly status: GuestStatus;
  readonly exitCode: number | null;
  /** The guest's own JSON of the result; absent when it is undefined. */
  readonly json?: string | undefined;
  readonly error?: string | undefined;
  /** What the code did to its copy of the workspace. */
  readonly folders: readonly string[];
  readonly files: readonly FileHead[];
  readonly deleted: readonly string[];
  /** How many links and the like were left behind. */
  readonly skipped: number;
}

/** `ready`: waits for a request. `begun`: has read it. */
export type FrameKind = "ready" | "begun" | "stdout" | "stderr" | "answer";
const kinds: readonly FrameKind[] = ["ready", "begun", "stdout", "stderr", "answer"];

const frameHead = 5;

/** One byte of kind, four of length, then the payload. */
export function packFrame(kind: FrameKind, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(frameHead);
  head.writeUInt8(kinds.indexOf(kind));
  head.writeUInt32BE(payload.length, 1);
  return Buffer.concat([head, payload]);
}

/** Puts frames together from chunks. `onFrame` gets each; a kind that does not exist, or too large a frame, throws. */
export class FrameReader {
  readonly #onFrame: (kind: FrameKind, payload: Buffer) => void;
  readonly #maxFrame: number;
  #chunks: Buffer[] = [];
  #length = 0;
  #wanted = frameHead;

  constructor(maxFrame: number, onFrame: (kind: FrameKind, payload: Buffer) => void) {
    this.#maxFrame = maxFrame;
    this.#onFrame = onFrame;
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    while (this.#length >= this.#wanted) {
      const received = Buffer.concat(this.#chunks);
      const size = received.readUInt32BE(1);
      const kind = kinds[received.readUInt8()];
      if (!kind || size > this.#maxFrame) throw new Error("The guest broke the protocol");
      this.#wanted = frameHead + size;
      const isWhole = received.length >= this.#wanted;
      this.#chunks = [isWhole ? received.subarray(this.#wanted) : received];
      if (!isWhole) return;
      this.#length = received.length - this.#wanted;
      const payload = received.subarray(frameHead, this.#wanted);
      this.#wanted = frameHead;
      this.#onFrame(kind, payload);
    }
  }
}

/** Length of the number before a request. */
export const requestHead = 4;

/** Four bytes of length, then the bundle: a guest may get several, one after the other. */
export function packRequest(bundle: Buffer): Buffer {
  const head = Buffer.alloc(requestHead);
  head.writeUInt32BE(bundle.length);
  return Buffer.concat([head, bundle]);
}

/** A JSON header, then bytes that it speaks of. */
export function packBundle(header: object, contents: readonly Uint8Array[]): Buffer {
  const json = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(4);
  size.writeUInt32BE(json.length);
  return Buffer.concat([size, json, ...contents]);
}

/** Throws for what is not a bundle. */
export function unpackHeader(bundle: Buffer): { header: unknown; rest: Buffer } {
  const end = 4 + bundle.readUInt32BE();
  return { header: JSON.parse(bundle.toString("utf8", 4, end)), rest: bundle.subarray(end) };
}

/** The bytes of each file. Throws when they do not add up. */
export function unpackFiles(files: readonly FileHead[], rest: Buffer): Buffer[] {
  let offset = 0;
  const contents = files.map(({ size }) => rest.subarray(offset, (offset += size)));
  if (offset !== rest.length) throw new Error("The sizes of the files do not add up");
  return contents;
}
