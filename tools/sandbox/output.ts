/**
 * What a guest prints, before anybody reads it. Output is untrusted text: it is capped while it arrives (memory), and
 * stripped of everything that a terminal or a text renderer would obey instead of show.
 */

import { StringDecoder } from "node:string_decoder";

/**
 * ECMA-48 sequences: OSC and its kin with their terminator, CSI, then any other escape. A string that is not
 * terminated loses its introducer only. No class matches an introducer, so that the time is linear in the text.
 */
const escapes =
  // oxlint-disable-next-line no-control-regex -- control characters are what it looks for
  /(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x80-\x9f]*(?:\x07|\x1b\\|\x9c)|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?|\x1b[ -/]*[0-~]?/g;

/** An escape that has not ended yet, at the end of a text: a string without its terminator, or less than a sequence. */
const unfinished =
  // oxlint-disable-next-line no-control-regex -- control characters are what it looks for
  /(?:(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x80-\x9f]*\x1b?|(?:\x1b\[|\x9b)[0-?]*[ -/]*|\x1b[ -/]*|\r|[\ud800-\udbff])$/;

/** C0 but for tab and newline, C1, and the marks that reorder or hide text (bidi, zero width, BOM, tag characters). */
const controls = /[^\P{Cc}\t\n]|[\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\u{e0000}-\u{e007f}]/gu;

/** `text` as plain characters, newlines and tabs. Well-formed, so Postgres and every JSON parser take it. */
export function plainText(text: string): string {
  return text.replaceAll("\r\n", "\n").replaceAll(escapes, "").replaceAll(controls, "").toWellFormed();
}

/** Keeps the first 60 % and the last 40 % of `limit` bytes: errors stand at the end, causes at the beginning. */
export class Capture {
  /** Bytes that were written, kept or not. */
  total = 0;
  readonly #headLimit: number;
  readonly #tailLimit: number;
  readonly #head: Buffer[] = [];
  #headBytes = 0;
  #tail: Buffer[] = [];
  #tailBytes = 0;

  constructor(limit: number) {
    this.#headLimit = Math.floor(limit * 0.6);
    this.#tailLimit = limit - this.#headLimit;
  }

  write(chunk: Buffer): void {
    this.total += chunk.length;
    const head = chunk.subarray(0, this.#headLimit - this.#headBytes);
    if (head.length > 0) this.#head.push(head);
    this.#headBytes += head.length;
    if (head.length < chunk.length) this.#keepTail(chunk.subarray(head.length));
  }

  get bytesDropped(): number {
    return this.total - this.#headBytes - Math.min(this.#tailBytes, this.#tailLimit);
  }

  /** What was kept, with a line that says how much was not. A character cut in half becomes U+FFFD. */
  text(): string {
    const head = Buffer.concat(this.#head).toString();
    const tail = Buffer.concat(this.#tail).subarray(-this.#tailLimit);
    if (this.bytesDropped === 0) return Buffer.concat([...this.#head, tail]).toString();
    return `${head}\n... [${this.bytesDropped} bytes dropped]\n${tail.toString()}`;
  }

  #keepTail(chunk: Buffer): void {
    // A copy: a slice would keep a guest's 60 MB string alive for its last 40 kB.
    const kept = Buffer.from(chunk.subarray(-this.#tailLimit));
    this.#tail.push(kept);
    this.#tailBytes += kept.length;
    while (this.#tailBytes - this.#tail[0]!.length >= this.#tailLimit) this.#tailBytes -= this.#tail.shift()!.length;
  }
}

/** `text` within `limit` bytes, by the same rule. */
export function headAndTail(text: string, limit: number): string {
  if (Buffer.byteLength(text) <= limit) return text;
  const capture = new Capture(limit);
  capture.write(Buffer.from(text));
  return capture.text();
}

/**
 * The same cleaning for output that is shown while it comes. A chunk may end within a character or an escape
 * sequence, so what follows the last escape waits for more, up to a size at which no sequence is honest.
 */
export class LiveText {
  readonly #emit: (text: string) => void;
  readonly #decoder = new StringDecoder("utf8");
  #waiting = "";

  constructor(emit: (text: string) => void) {
    this.#emit = emit;
  }

  write(chunk: Buffer): void {
    const text = this.#waiting + this.#decoder.write(chunk);
    const start = text.search(unfinished);
    const isWaiting = start >= 0 && text.length - start < 256;
    this.#waiting = isWaiting ? text.slice(start) : "";
    this.#send(isWaiting ? text.slice(0, start) : text);
  }

  end(): void {
    this.#send(this.#waiting + this.#decoder.end());
    this.#waiting = "";
  }

  #send(text: string): void {
    const plain = plainText(text);
    if (plain !== "") this.#emit(plain);
  }
}
