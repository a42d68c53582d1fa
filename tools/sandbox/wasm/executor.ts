/**
 * JavaScript in QuickJS, compiled to WebAssembly, in a process of its own for each call. The VM has no host objects
 * at all; the process around it has no environment, no files, one user id of its own (under root) and hard limits.
 */
import { randomUUID } from "node:crypto";
import { PawlError } from "../../../lib/errors.ts";
import { headAndTail, plainText } from "../output.ts";
import type { Policy, RunRequest, RunResult, Session, ToolExecutor } from "../types.ts";
import type { GuestEnd, GuestLimits } from "./child.ts";
import { parseUntrusted } from "./json.ts";
import { GuestPool, idleTarget } from "./pool.ts";
import { probeWasm } from "./probe.ts";

/** How long a guest process may take to start; it has not seen any code by then. */
const startMs = 10_000;
/** A guest that died while it waited is noticed only when it is asked: one try more than there may be of those. */
const startTries = idleTarget + 1;
/** CPU time for Node's own start, on top of what the policy gives to the guest. */
const startCpuSeconds = 2;

export function createWasmExecutor(): ToolExecutor {
  const pools = new Map<string, GuestPool>();
  const poolFor = (policy: Policy): GuestPool => {
    const limits = limitsOf(policy);
    const key = JSON.stringify(limits);
    const pool = pools.get(key) ?? new GuestPool(limits);
    pools.set(key, pool);
    return pool;
  };
  return {
    kind: "wasm",
    probe: () => probeWasm((policy) => session(poolFor(policy), policy)),
    open: (_workspace, policy) => {
      if (policy.network.allow.length > 0 || Object.keys(policy.env).length > 0) {
        const reason = "The wasm executor has no network and no environment";
        return Promise.reject(new PawlError("sandbox_denied", reason));
      }
      return Promise.resolve(session(poolFor(policy), policy));
    },
    close: async () => {
      await Promise.all([...pools.values()].map((pool) => pool.close()));
      pools.clear();
    },
  };
}

function limitsOf(policy: Policy): GuestLimits {
  return {
    cpuSeconds: Math.ceil(policy.cpuMs / 1_000) + startCpuSeconds,
    jsMemMb: policy.jsMemMb,
    openFiles: policy.openFiles,
  };
}

function session(pool: GuestPool, policy: Policy): Session {
  return {
    id: randomUUID(),
    async run(request) {
      const started = performance.now();
      const end = await evaluate(pool, policy, request);
      return resultOf(end, policy, Math.round(performance.now() - started));
    },
    close: () => Promise.resolve(), // no process outlives its call
  };
}

type Ending = GuestEnd | { readonly status: "denied"; readonly error: string };

async function evaluate(pool: GuestPool, policy: Policy, request: RunRequest): Promise<Ending> {
  if (request.language !== "js") return { status: "denied", error: `This sandbox cannot run ${request.language}` };
  if (request.signal?.aborted) return { status: "killed" };
  // The VM cannot wait, so its wall clock is its CPU time.
  const timeoutMs = Math.min(request.timeoutMs ?? policy.wallMs, policy.wallMs, policy.cpuMs);
  const { outputBytes, resultBytes } = policy;
  for (let tries = 1; tries <= startTries; tries++) {
    try {
      return await pool.withGuest(async (guest) => {
        await guest.start(startMs, request.signal);
        return guest.evaluate({ code: request.code, timeoutMs, outputBytes, resultBytes }, request.signal);
      });
    } catch {
      if (request.signal?.aborted) return { status: "killed" };
    }
  }
  return { status: "denied", error: "The sandbox could not start" };
}

const explanations = {
  ok: "",
  error: "The code failed",
  timeout: "The code ran into its time limit",
  oom: "The code ran out of memory",
  killed: "The code was stopped",
  output_limit: "The code printed too much",
  denied: "The sandbox refused",
} as const;

function resultOf(end: Ending, policy: Policy, durationMs: number): RunResult {
  const printed = "console" in end ? end.console : "";
  const answer = valueOf(end);
  const said = answer.error ?? explanations[answer.status];
  const stdout = headAndTail(plainText(printed), policy.outputBytes + markerBytes);
  const stderr = headAndTail(plainText(said), policy.outputBytes);
  const bytesDropped = "bytesDropped" in end ? end.bytesDropped : 0;
  return {
    status: answer.status,
    output: [stdout.trimEnd(), stderr].filter((part) => part !== "").join("\n"),
    stdout,
    stderr,
    ...("value" in answer && { value: answer.value }),
    exitCode: answer.status === "ok" ? 0 : answer.status === "error" ? 1 : null,
    truncated: bytesDropped > 0 || answer.status === "output_limit",
    bytesDropped,
    durationMs,
    isolation: "wasm",
  };
}

/** The guest capped its output and added one line that says so; our own cap must not cut that again. */
const markerBytes = 100;

function valueOf(end: Ending): { status: RunResult["status"]; error?: string | undefined; value?: unknown } {
  if (end.status !== "ok") return { status: end.status, error: "error" in end ? end.error : undefined };
  if (end.json === undefined) return { status: "ok" };
  try {
    return { status: "ok", value: parseUntrusted(end.json) };
  } catch (error) {
    return { status: "error", error: error instanceof Error ? error.message : "The result is not JSON" };
  }
}
