/** Matrix B: code for a JavaScript engine (J01 to J27). An engine without host objects has fewer ways than a full Node. */
import type { RunStatus } from "../../../tools/sandbox/types.ts";
import { type Attempt, secretVariable } from "./attempt.ts";

/** Code that yields true when the attack failed. */
const escapes: readonly (readonly [name: string, code: string])[] = [
  [
    "J01 environment",
    "typeof process === 'undefined' && !JSON.stringify(Object.getOwnPropertyNames(globalThis)).includes('env')",
  ],
  ["J02 require", "typeof require === 'undefined' && typeof module === 'undefined'"],
  [
    "J03 this.constructor.constructor",
    "(() => { try { return !this.constructor.constructor('return process')() } catch { return true } })()",
  ],
  [
    "J04 a host function's constructor",
    "(() => { try { return !console.log.constructor('return process')() } catch { return true } })()",
  ],
  [
    "J05 a host error's constructor",
    "(() => { try { null.x } catch (e) { try { return !e.constructor.constructor('return process')() } catch { return true } } })()",
  ],
  ["J13 network", "['fetch', 'XMLHttpRequest', 'WebSocket', 'Deno', 'Bun'].every((name) => !(name in globalThis))"],
  ["J15 WebAssembly", "typeof WebAssembly === 'undefined'"],
  [
    "J19 Atomics.wait",
    "(() => { try { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); return false } catch { return true } })()",
  ],
  ["J20 process.exit", "(() => { try { process.exit(0) } catch { return true } })()"],
  [
    "J24 dynamic import",
    "(await Promise.allSettled(['fs', 'node:fs', '/etc/passwd', './vm.ts'].map((m) => import(m)))).every((r) => r.status === 'rejected')",
  ],
  [
    "J25 timers",
    "['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask'].every((name) => typeof globalThis[name] !== 'function' || name === 'queueMicrotask')",
  ],
];

/** Code that must be stopped: how it may end. */
const bombs: readonly (readonly [name: string, code: string, ends: readonly RunStatus[]])[] = [
  ["J07 endless loop", "for (;;);", ["timeout"]],
  [
    "J07b endless loop that catches everything",
    "for (;;) { try { for (;;); } catch {} finally { continue; } }",
    ["timeout"],
  ],
  ["J08 regular expression", "/^(a+)+$/.test('a'.repeat(40) + 'b')", ["timeout"]],
  ["J09 array", "const a = []; for (;;) a.push(new Array(1e5).fill(1));", ["oom"]],
  [
    "J09b array that catches",
    "const a = []; for (;;) { try { a.push(new Array(1e5).fill(1)); } catch {} }",
    ["timeout", "oom"],
  ],
  ["J10 string doubling", "let s = 'x'; for (;;) s += s;", ["oom", "error"]],
  ["J11 recursion", "(function f() { f(); })()", ["error"]],
  ["J12 microtask loop", "function f() { Promise.resolve().then(f); } f(); 1", ["timeout"]],
  ["J12b async loop", "for (;;) await 0;", ["timeout"]],
  ["J14 endless console.log", "for (;;) console.log('x'.repeat(1000));", ["output_limit"]],
  ["J14b one huge console.log", "console.log('x'.repeat(20_000_000));", ["output_limit"]],
  ["J16 big integer", "let x = 3n; for (;;) x = x * x;", ["timeout", "oom", "error"]],
  ["J16b one native operation", "3n ** 30_000_000n", ["timeout", "oom", "error"]],
  ["J17 4 GB buffer", "new ArrayBuffer(4 * 1024 ** 3)", ["error", "oom"]],
  ["J18 native sort", "new Uint8Array(5e6).fill(1).sort((a, b) => { for (;;); })", ["timeout"]],
  ["J21 getter loop in the result", "({ get x() { for (;;); } })", ["timeout"]],
  ["J21b toJSON loop", "({ toJSON() { for (;;); } })", ["timeout"]],
  ["J21c thenable loop", "({ then() { for (;;); } })", ["timeout"]],
  ["J22 getter loop in a thrown error", "throw { get message() { for (;;); } }", ["timeout"]],
  [
    "J22b toString loop in a printed value",
    "console.log({ toJSON() { throw 1 }, toString() { for (;;); } })",
    ["timeout"],
  ],
  ["J26 huge result", "'x'.repeat(1_000_000)", ["output_limit"]],
  ["J27 deep result", "let v = 1; for (let i = 0; i < 1000; i++) v = [v]; v", ["error"]],
  ["J27b deeper result", "let v = 1; for (let i = 0; i < 1e5; i++) v = [v]; v", ["error", "timeout"]],
];

export const javascript: readonly Attempt[] = [
  ...escapes.map(([name, code]): Attempt => ({
    name,
    language: "js",
    code: () => code,
    ends: ["ok"],
    trace: ({ value }) => value !== true,
  })),
  ...bombs.map(([name, code, ends]): Attempt => {
    // Where time is not what stops it, a busy machine must not be either.
    const timeoutMs = ends.includes("timeout") ? 400 : 10_000;
    const isUnbounded = (output: string): boolean => Buffer.byteLength(output) > 120_000;
    return {
      name,
      language: "js",
      code: () => code,
      ends,
      timeoutMs,
      trace: (result) => "value" in result || isUnbounded(result.output) || result.durationMs > timeoutMs + 10_000,
    };
  }),
  {
    name: "J01b the value of a variable of ours",
    language: "js",
    code: () => `[typeof process === "object" && process.env.${secretVariable}, globalThis.${secretVariable}]`,
  },
  {
    name: "J06 a result with keys that reach a prototype",
    language: "js",
    code: () =>
      `JSON.parse('{"__proto__": {"admin": true}, "constructor": {"prototype": {"admin": true}}, "safe": 1}')`,
    ends: ["ok"],
    trace: ({ value }) => "admin" in (value as object) || Object.keys(value as object).join() !== "safe",
  },
  {
    name: "J23 child processes",
    language: "js",
    code: ({ plantedFile }) =>
      `["child_process", "node:child_process"].map((name) => { try { require(name).execSync("touch ${plantedFile}") } catch {} }); 1`,
    ends: ["ok"],
  },
];
