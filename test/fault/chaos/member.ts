/** One process of the fleet, started as a user would, and what it said. Its database and its clients reach it through proxies. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, type WriteStream } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { HalfOpenProxy } from "./half-open-proxy.ts";

const ROLES = ["serve", "serve --no-workers", "worker"] as const;
export type Role = (typeof ROLES)[number];

interface MemberOptions {
  readonly name: string;
  readonly role: Role;
  /** langgraph.json. */
  readonly project: string;
  readonly env: Readonly<Record<string, string>>;
  /** What is between it and Postgres. */
  readonly database: HalfOpenProxy;
  /** Gets all that it writes. */
  readonly logFile: string;
}

const cli = fileURLToPath(new URL("../../../server/cli.ts", import.meta.url));

/** Tries of a supervisor, while the database is away. */
const MAX_STARTS = 40;
const RESTART_MS = 250;

export class Member {
  readonly name: string;
  readonly role: Role;
  readonly database: HalfOpenProxy;
  /** Where it listens, while it does. */
  port: number | undefined;
  /** "up": took its place and was sent no signal since. */
  state: "starting" | "up" | "stopped" | "ending" | "down" = "down";
  /** What no process may do: end by itself, leave a rejection to nobody. */
  readonly misdeeds: string[] = [];
  /** Messages that it logged as errors, and how often. */
  readonly errors = new Map<string, number>();
  readonly #options: MemberOptions;
  readonly #log: WriteStream;
  #child: ChildProcess | undefined;
  #isDisposed = false;
  #exited: Promise<unknown> = Promise.resolve();

  constructor(options: MemberOptions) {
    this.#options = options;
    this.name = options.name;
    this.role = options.role;
    this.database = options.database;
    this.#log = createWriteStream(options.logFile, { flags: "a" });
  }

  get executes(): boolean {
    return this.role !== "serve --no-workers";
  }

  get listens(): boolean {
    return this.role !== "worker";
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Comes up, however often it takes: it ends at once while the database is away, and a supervisor starts it again. */
  async start(): Promise<void> {
    this.state = "starting";
    for (let tries = 1; tries <= MAX_STARTS; tries += 1) {
      if (this.#isDisposed) return;
      if (await this.#startOnce()) {
        this.state = "up";
        return;
      }
      await delay(RESTART_MS);
    }
    throw new Error(`${this.name} did not come up; see ${this.#options.logFile}`);
  }

  /** Sends a signal that ends it, and waits for the end. */
  async end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    this.state = "ending";
    this.#child?.kill(signal);
    await this.#exited;
  }

  stop(): void {
    this.state = "stopped";
    this.#child?.kill("SIGSTOP");
  }

  continue(): void {
    this.#child?.kill("SIGCONT");
    this.state = "up";
  }

  /** At the end of everything, in whatever state. */
  async dispose(): Promise<void> {
    this.#isDisposed = true;
    if (this.state !== "down") await this.end("SIGKILL");
    this.#log.end();
  }

  async #startOnce(): Promise<boolean> {
    const { role, project, env } = this.#options;
    const port = this.listens ? ["--port", "0"] : [];
    const child = spawn(process.execPath, [cli, ...role.split(" "), ...port, "--config", project], {
      env: { PATH: process.env["PATH"], HOME: process.env["HOME"], ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    const ready = Promise.withResolvers<boolean>();
    this.#exited = once(child, "exit").then(([code, signal]) => {
      this.#log.write(`--- ended: ${code ?? signal}\n`);
      this.port = undefined;
      if (this.state === "up" || this.state === "stopped") this.misdeeds.push(`ended by itself: ${code ?? signal}`);
      if (this.state === "ending" && code !== 0 && signal === null) this.misdeeds.push(`ended with ${code}`);
      this.state = this.state === "starting" ? "starting" : "down";
      ready.resolve(false);
    });
    for (const stream of [child.stdout, child.stderr]) {
      createInterface(stream).on("line", (line) => this.#read(line, () => ready.resolve(true)));
    }
    return ready.promise;
  }

  #read(line: string, onReady: () => void): void {
    this.#log.write(`${line}\n`);
    const [, port] = /^Pawl listens on \S+:(\d+)/.exec(line) ?? [];
    if (port !== undefined) this.port = Number(port);
    if (line.startsWith("Ready after")) onReady();
    if (/unhandled|uncaught/i.test(line)) this.misdeeds.push(line.slice(0, 300));
    const [, message] = /^\{"level":[56]0.*"msg":"([^"]*)"/.exec(line) ?? [];
    if (message !== undefined) this.errors.set(message, (this.errors.get(message) ?? 0) + 1);
  }
}
