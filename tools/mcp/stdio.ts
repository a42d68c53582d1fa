/**
 * An MCP server that is a program: it runs in a sandbox for one connection, and is talked to through its standard
 * input and output (one JSON-RPC message a line). What it prints is a stranger's: bounded by the run's limits, parsed
 * with a bound on depth, and what is no message is dropped.
 */
import { PassThrough } from "node:stream";
import { JSONRPCMessageSchema, type JSONRPCMessage } from "@modelcontextprotocol/sdk/types.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { asError } from "../../lib/errors.ts";
import type { RunRequest, RunResult, Session } from "../sandbox/types.ts";
import { parseUntrusted } from "../sandbox/wasm/json.ts";
import type { McpProgram } from "./server.ts";

/** Of one connection. Each costs us more than it costs the program, so their number ends it before their size does. */
const maxLines = 1_000;

export class SandboxTransport implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: (message: JSONRPCMessage) => void;
  readonly #session: Session;
  readonly #program: McpProgram;
  readonly #signal: AbortSignal;
  readonly #stop = new AbortController();
  readonly #input = new PassThrough({ encoding: "utf8" });
  #running: Promise<void> | undefined;
  #result: RunResult | undefined;
  #line = "";
  #lines = 0;

  /** `signal` ends the program, as `close` does. */
  constructor(session: Session, program: McpProgram, signal: AbortSignal) {
    this.#session = session;
    this.#program = program;
    this.#signal = signal;
  }

  start(): Promise<void> {
    this.#running = this.#run();
    return Promise.resolve();
  }

  send(message: JSONRPCMessage): Promise<void> {
    if (this.#input.writable) this.#input.write(`${JSON.stringify(message)}\n`);
    return Promise.resolve();
  }

  /** Returns when nothing of the program is left. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** How it ended, once it has: for people, in its own words. */
  get ending(): string | undefined {
    if (!this.#result) return undefined;
    const { status, exitCode, stderr } = this.#result;
    return `it ended (${status}${exitCode === null ? "" : `, exit code ${exitCode}`}) ${stderr.slice(-500)}`.trimEnd();
  }

  async #run(): Promise<void> {
    try {
      this.#result = await this.#session.run({
        ...commandOf(this.#program),
        stdin: this.#input,
        signal: AbortSignal.any([this.#signal, this.#stop.signal]),
        onOutput: ({ stream, text }) => stream === "stdout" && this.#receive(text),
      });
    } catch (error) {
      this.onerror?.(asError(error));
    } finally {
      this.#input.end();
      this.#input.destroy();
      this.onclose?.();
    }
  }

  #receive(text: string): void {
    const [first = "", ...more] = text.split("\n");
    this.#line += first;
    for (const next of more) {
      if (++this.#lines > maxLines) return this.#stop.abort();
      const message = messageOf(this.#line);
      this.#line = next;
      if (message instanceof Error) this.onerror?.(message);
      else this.onmessage?.(message);
    }
  }
}

function messageOf(line: string): JSONRPCMessage | Error {
  try {
    return JSONRPCMessageSchema.parse(parseUntrusted(line));
  } catch (error) {
    return asError(error);
  }
}

/** Node by itself, so that it has its own limit on memory; others by the shell. */
function commandOf({ command, args }: McpProgram): Pick<RunRequest, "language" | "code"> {
  if (command === "node") {
    const argv = JSON.stringify(args);
    return {
      language: "js",
      code: `process.argv.splice(1, process.argv.length, ...${argv}); require("node:module").runMain();`,
    };
  }
  return { language: "shell", code: `exec ${[command, ...args].map(quoted).join(" ")}` };
}

const quoted = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;
