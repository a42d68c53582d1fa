/**
 * JavaScript in QuickJS and Python in CPython, both compiled to WebAssembly, and a shell in TypeScript (just-bash), in
 * processes that have no environment, no files, one user id of their own (under root) and hard limits. A process for
 * each call, but for JavaScript, which gets a fresh VM for each call and a process for each workspace. It works wherever
 * Node does.
 */
import { randomUUID } from "node:crypto";
import { PawlError } from "../../../lib/errors.ts";
import { needsNothing } from "../policy.ts";
import { createSession } from "../session.ts";
import { inTurn } from "../turns.ts";
import type { Policy, RunRequest, RunResult, Session, ToolExecutor } from "../types.ts";
import type { Workspace } from "../workspace.ts";
import { boxed, canBox } from "./boxed.ts";
import { GuestPool } from "./pool.ts";
import { probeWasm } from "./probe.ts";
import { installedLanguages, programFor } from "./programs.ts";
import { type PoolFor, Run } from "./run.ts";

export function createWasmExecutor(): ToolExecutor {
  const pools = new Map<string, GuestPool>();
  let isClosed = false;
  const poolFor =
    (isProbe: boolean): PoolFor =>
    async (language, policy) => {
      const isBoxed = await canBox();
      if (isClosed) throw new PawlError("sandbox_denied", "The sandbox is closed");
      const { jsMemMb, memMb, cpuMs, openFiles } = policy;
      // Of what a program is made: looking for its files on each call would cost as much as the call.
      const key = JSON.stringify([isProbe, language, jsMemMb, memMb, cpuMs, openFiles]);
      const known = pools.get(key);
      if (known) return known;
      const plain = programFor(language, policy);
      const program = isBoxed ? boxed(plain) : plain;
      // A self-test keeps no guest waiting: it is not known yet whether anybody will want one.
      const pool = new GuestPool(isProbe ? { ...program, idleTarget: 0 } : program);
      pools.set(key, pool);
      return pool;
    };
  const open = (workspace: Workspace, policy: Policy, isProbe = false): Session => {
    const run = (request: RunRequest): Promise<RunResult> =>
      new Run({ workspace, policy }, request).result(poolFor(isProbe));
    return createSession({ isolation: "wasm", workspace, policy, run });
  };
  const resume = (workspace: Workspace, policy: Policy, snapshot: Uint8Array): Session => {
    let globals = snapshot;
    const id = randomUUID();
    const run = (request: RunRequest): Promise<RunResult> =>
      inTurn(id, async () => {
        const one = new Run({ workspace, policy }, request, globals);
        const result = await one.result(poolFor(false));
        globals = one.globals;
        return result;
      });
    return createSession({ isolation: "wasm", workspace, policy, run, snapshot: () => Promise.resolve(globals) });
  };
  return {
    kind: "wasm",
    async probe(language) {
      const languages = installedLanguages().filter((installed) => language === undefined || installed === language);
      const capabilities = await probeWasm((workspace, policy) => open(workspace, policy, true), languages);
      return { ...capabilities, detail: (await canBox()) ? "behind Landlock and seccomp" : "without Landlock" };
    },
    open: async (workspace, policy) => {
      requireNothing(policy);
      return open(workspace, policy);
    },
    resume: async (workspace, policy, snapshot) => {
      requireNothing(policy);
      return resume(workspace, policy, snapshot);
    },
    close: async () => {
      isClosed = true;
      await Promise.all([...pools.values()].map((pool) => pool.close()));
      pools.clear();
    },
  };
}

function requireNothing(policy: Policy): void {
  if (needsNothing(policy)) return;
  const reason = "The wasm executor has no network, no environment and no files but the workspace";
  throw new PawlError("sandbox_denied", reason);
}
