/**
 * Landlock takes files away but cannot move them: a guest's `/workspace` and `/tmp` are folders with other names. They
 * are put into code and environment as it starts, and taken out of what it prints. Code in files that a guest runs is
 * not translated; it has `$HOME`, `$TMPDIR` and the current folder.
 */

export interface GuestFolders {
  /** A name without spaces or quotes, whatever the data folder is called. */
  readonly workspace: string;
  readonly temporary: string;
}

/** Both as whole paths or the beginnings of one, and never as a part of another path, name or URL. */
const guestPaths = /(?<![\w.~/$)}\]-])\/(workspace|tmp)(?![\w.-])/g;

/** `readable`: folders and files of the host that the guest may name as they are, also where they lie below `/tmp`. */
export function toHost(text: string, folders: GuestFolders, readable: readonly string[]): string {
  return text.replace(guestPaths, (guest: string, name: string, at: number) => {
    if (readable.some((path) => beginsWith(text.slice(at, at + path.length + 1), path))) return guest;
    return name === "tmp" ? folders.temporary : folders.workspace;
  });
}

function beginsWith(text: string, path: string): boolean {
  return text.startsWith(path) && !/[\w.-]/.test(text.slice(path.length));
}

/** Replaces paths in a stream of bytes, and ends it at a mark. Keeps back only what may be the beginning of one of these. */
export class GuestStream {
  readonly #needles: readonly (readonly [Buffer, Buffer])[];
  readonly #mark: Buffer;
  readonly #write: (chunk: Buffer) => void;
  #held = Buffer.alloc(0);
  #ended = false;

  /** `names`: from host paths to guest paths; a longer one before a shorter that it begins with. */
  constructor(mark: Buffer, names: readonly (readonly [string, string])[], write: (chunk: Buffer) => void) {
    this.#mark = mark;
    this.#needles = names.map(([host, guest]) => [Buffer.from(host), Buffer.from(guest)]);
    this.#write = write;
  }

  get ended(): boolean {
    return this.#ended;
  }

  push(chunk: Buffer): void {
    if (this.#ended) return;
    const bytes = Buffer.concat([this.#held, chunk]);
    this.#ended = bytes.subarray(-this.#mark.length).equals(this.#mark);
    const kept = this.#ended ? this.#mark.length : this.#partial(bytes);
    this.#held = bytes.subarray(bytes.length - kept);
    this.#emit(bytes.subarray(0, bytes.length - kept));
  }

  /** When no mark will come. */
  flush(): void {
    if (!this.#ended) this.#emit(this.#held);
    this.#ended = true;
  }

  #emit(bytes: Buffer): void {
    if (bytes.length > 0)
      this.#write(this.#needles.reduce((text, [host, guest]) => replaced(text, host, guest), bytes));
  }

  /** Length of the longest end of `bytes` that begins a mark or a path. */
  #partial(bytes: Buffer): number {
    const patterns = [this.#mark, ...this.#needles.map(([host]) => host)];
    return Math.max(...patterns.map((pattern) => overlap(bytes, pattern)));
  }
}

function overlap(bytes: Buffer, pattern: Buffer): number {
  for (let length = Math.min(bytes.length, pattern.length - 1); length > 0; length--) {
    if (bytes.subarray(-length).equals(pattern.subarray(0, length))) return length;
  }
  return 0;
}

function replaced(bytes: Buffer, from: Buffer, to: Buffer): Buffer {
  const parts: Buffer[] = [];
  let start = 0;
  for (let at = bytes.indexOf(from); at >= 0; at = bytes.indexOf(from, start)) {
    parts.push(bytes.subarray(start, at), to);
    start = at + from.length;
  }
  return start === 0 ? bytes : Buffer.concat([...parts, bytes.subarray(start)]);
}
