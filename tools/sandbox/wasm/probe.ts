/** Attacks the wasm sandbox from inside, at start. An attack that is not beaten makes the executor unavailable. */
import { type Capabilities, defaultPolicy, type Policy, type RunResult, type Session } from "../types.ts";

/** Each entry: what is tried, and whether the answer shows that it failed. */
const attacks: readonly { name: string; code: string; beaten: (result: RunResult) => boolean }[] = [
  {
    name: "host objects",
    code: `[typeof process, typeof require, typeof fetch, typeof WebAssembly, typeof Deno,
      (() => { try { return typeof this.constructor.constructor("return process")(); } catch { return "undefined"; } })()]
      .every((kind) => kind === "undefined")`,
    beaten: ({ status, value }) => status === "ok" && value === true,
  },
  {
    name: "modules",
    code: `(await Promise.allSettled(["fs", "node:fs", "/etc/passwd", "file:///etc/passwd"].map((name) => import(name))))
      .every(({ status }) => status === "rejected")`,
    beaten: ({ status, value }) => status === "ok" && value === true,
  },
  { name: "endless loop", code: "for (;;);", beaten: ({ status }) => status === "timeout" },
  {
    name: "memory",
    code: "const a = []; for (;;) a.push(new Array(1e5).fill(1));",
    beaten: ({ status }) => status === "oom",
  },
];

export async function probeWasm(open: (policy: Policy) => Session): Promise<Capabilities> {
  const session = open(defaultPolicy);
  for (const { name, code, beaten } of attacks) {
    const result = await session.run({ language: "js", code, timeoutMs: name === "endless loop" ? 200 : 5_000 });
    if (!beaten(result)) {
      return {
        available: false,
        languages: [],
        reason: `The sandbox did not beat the attack "${name}" (${result.status})`,
      };
    }
  }
  return { available: true, languages: ["js"] };
}
