/**
 * What a sandboxed call costs beside the floor, which is starting a program and waiting for it (`sh -c true`, and Node
 * for the guests that are Node). Calls alternate between the two, so that a busy machine slows both.
 * And what a guest that spins costs the requests of this process.
 *
 *     node bench/sandbox.ts [--calls <n>] [--executor wasm|landlock|bwrap]
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { createBwrapExecutor } from "../tools/sandbox/bwrap/executor.ts";
import { createLandlockExecutor } from "../tools/sandbox/landlock/executor.ts";
import { defaultPolicy, type Language, type Session } from "../tools/sandbox/types.ts";
import { createWasmExecutor } from "../tools/sandbox/wasm/executor.ts";
import { fixed, table } from "./report.ts";

const executors = { wasm: createWasmExecutor, landlock: createLandlockExecutor, bwrap: createBwrapExecutor };

const { values } = parseArgs({
  options: { calls: { type: "string", default: "20" }, executor: { type: "string", default: "wasm" } },
});
const calls = Number(values.calls);
const create = executors[values.executor as keyof typeof executors];

const nothing: Readonly<Record<Language, string>> = { js: "1", shell: "true", python: "pass" };
/** In cold starts: long enough for the guest that replaces a used one to be ready, so that the next call is a warm one. */
const rest = 2;

/** For each figure of the latency. */
const requests = 50;

const root = mkdtempSync(join(tmpdir(), "pawl-bench-"));
const executor = create();
const workspace = { threadId: "bench", root };
const session = await executor.open(workspace, defaultPolicy);
const rows: string[][] = [];
for (const language of ["js", "shell", "python"] as const) rows.push(await measure(session, language));
const rate = await ratePerSecond(session, 2);
const kept = await withGlobals(session);
const latency = await latencies(session);
await executor.close();
rmSync(root, { recursive: true });

const head = ["language", "cold ms", "warm p50", "warm p95", "sh p50", "node p50", "idle guest MB"];
process.stdout.write(
  `${table(head, rows)}\n\nJavaScript, 2 callers without a rest: ${fixed(rate)} calls/s\n${kept}` +
    `An HTTP request to this process, p50/p95 ms: ${latency.quiet.map(fixed).join("/")}, while a guest spins ${latency.spun.map(fixed).join("/")}\n`,
);

async function measure(on: Session, language: Language): Promise<string[]> {
  const run = (): Promise<number> => timed(() => on.run({ language, code: nothing[language] }).then(requireOk));
  const cold = await run();
  const [warm, sh, node]: number[][] = [[], [], []];
  for (let i = 0; i < calls; i++) {
    await delay(rest * cold);
    warm!.push(await run());
    sh!.push(await timed(() => program("/bin/sh", ["-c", "true"])));
    node!.push(await timed(() => program(process.execPath, ["-e", "0"])));
  }
  const figures = [cold, at(warm!, 0.5), at(warm!, 0.95), at(sh!, 0.5), at(node!, 0.5)].map(fixed);
  await delay(rest * cold);
  return [language, ...figures, fixed(idleMegabytes(language))];
}

async function ratePerSecond(on: Session, callers: number): Promise<number> {
  const started = performance.now();
  let done = 0;
  const call = async (): Promise<void> => {
    while (performance.now() - started < 4_000) {
      requireOk(await on.run({ language: "js", code: "1" }));
      done++;
    }
  };
  await Promise.all(Array.from({ length: callers }, call));
  return done / ((performance.now() - started) / 1_000);
}

/** What it costs to keep the globals: a call that does beside one that does not, and one whose guest is another each time. */
async function withGlobals(plain: Session): Promise<string> {
  if (!executor.resume) return "";
  const run = (on: Session): Promise<number> => timed(() => on.run({ language: "js", code: "1" }).then(requireOk));
  const first = await executor.resume(workspace, defaultPolicy, Buffer.alloc(0));
  await run(first);
  const snapshot = await first.snapshot!();
  const [without, keeping, restoring]: number[][] = [[], [], []];
  for (let i = 0; i < calls; i++) {
    without!.push(await run(plain));
    await run(first);
    keeping!.push(await run(first));
    restoring!.push(await run(await executor.resume(workspace, defaultPolicy, snapshot)));
  }
  const figures = [without!, keeping!, restoring!].map((times) => fixed(at(times, 0.5))).join("/");
  return `JavaScript p50, without globals/keeping them/restoring others first, ms: ${figures}, ${Math.round(snapshot.length / 1_024)} kB\n`;
}

/** What the process that has a guest answers in: without one, and with one that does nothing but spin. */
async function latencies(on: Session): Promise<Record<"quiet" | "spun", number[]>> {
  const server = createServer((_request, response) => response.end("ok")).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const ask = async (): Promise<void> => void (await (await fetch(`http://127.0.0.1:${port}/`)).text());
  const percentiles = async (): Promise<number[]> => {
    const taken: number[] = [];
    for (let i = 0; i < requests; i++) taken.push(await timed(ask));
    return [at(taken, 0.5), at(taken, 0.95)];
  };
  await percentiles();
  const quiet = await percentiles();
  const cancel = new AbortController();
  const spinning = Promise.withResolvers<void>();
  const code = "console.log(1); for (;;);";
  const running = on.run({ language: "js", code, signal: cancel.signal, onOutput: () => spinning.resolve() });
  await spinning.promise;
  const spun = await percentiles();
  cancel.abort();
  await running;
  server.close();
  return { quiet, spun };
}

function requireOk({ status, stderr }: { status: string; stderr: string }): void {
  if (status !== "ok") throw new Error(`${status}: ${stderr}`);
}

async function program(command: string, args: string[]): Promise<void> {
  await once(spawn(command, args, { stdio: "ignore", env: {} }), "exit");
}

async function timed(work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

function at(figures: readonly number[], share: number): number {
  return figures.toSorted((a, b) => a - b)[Math.floor((figures.length - 1) * share)] ?? Number.NaN;
}

/** Proportional set size of one waiting guest (Linux): what it adds, with shared pages divided among their users. */
function idleMegabytes(language: Language): number {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      if (!readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(`wasm/guest-${language}.`)) continue;
      const pss = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"));
      if (pss) return Number(pss[1]) / 1_024;
    } catch {
      // Ended while we looked, or another user's.
    }
  }
  return Number.NaN;
}
