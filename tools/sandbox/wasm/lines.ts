/** Output that comes byte by byte, sent on by the line. */
import { send } from "./guest-io.ts";

const maxLine = 4_096;
const tailLength = 200;

export class Lines {
  /** The last characters that were written. */
  tail = "";
  readonly #stream: "stdout" | "stderr";
  readonly #bytes = Buffer.alloc(maxLine);
  #length = 0;

  constructor(stream: "stdout" | "stderr") {
    this.#stream = stream;
  }

  /** Null is how the interpreter asks for what waits. */
  push(byte: number | null): void {
    if (byte === null) return this.flush();
    this.#bytes[this.#length++] = byte;
    if (byte === 10 || this.#length === maxLine) this.flush();
  }

  flush(): void {
    if (this.#length === 0) return;
    const line = this.#bytes.subarray(0, this.#length);
    this.tail = (this.tail + line.toString()).slice(-tailLength);
    send(this.#stream, line);
    this.#length = 0;
  }
}
