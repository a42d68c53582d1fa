/** The wasm executor from outside: results, limits, the process around a guest. What attacks it is in attacks/. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { defaultPolicy, type RunResult, type Session } from "../../tools/sandbox/types.ts";
import { canBox } from "../../tools/sandbox/wasm/boxed.ts";
import { createWasmExecutor } from "../../tools/sandbox/wasm/executor.ts";
import { guestPids } from "./children.ts";

const executor = createWasmExecutor();
const nowhere = {
  threadId: "00000000-0000-4000-8000-000000000000",
  root: mkdtempSync(join(tmpdir(), "pawl-wasm-")),
};
let session: Session;

beforeAll(async () => {
  process.env["PAWL_TEST_SECRET"] = "hunter2";
  session = await executor.open(nowhere, { ...defaultPolicy, outputBytes: 10_000 });
});

afterAll(async () => {
  await executor.close();
  rmSync(nowhere.root, { recursive: true });
  delete process.env["PAWL_TEST_SECRET"];
  expect(guestPids(), "no guest outlives its executor").toEqual([]);
});

const run = (code: string, timeoutMs = 5_000): Promise<RunResult> => session.run({ language: "js", code, timeoutMs });

describe("what code can do", () => {
  test.each([
    ["the value of the last expression", "const a = 2; a * 21", 42],
    [
      "an object",
      "({ list: [1, 'two', null], nested: { deep: true } })",
      { list: [1, "two", null], nested: { deep: true } },
    ],
    ["top-level await", "await Promise.resolve('later')", "later"],
    ["a promise as the last expression", "async function main() { return 7 } main()", 7],
    ["a big integer, as text", "10n ** 30n", "1000000000000000000000000000000"],
  ])("%s is the result", async (_name, code, value) => {
    expect(await run(code)).toMatchObject({ status: "ok", value, exitCode: 0, isolation: "wasm", truncated: false });
  });

  test("nothing is left of a call for the next one of the same process, whatever it did", async () => {
    const marks =
      "[typeof left, typeof later, Object.keys(globalThis).includes('left'), ({}).planted, [1].map((x) => x)[0]]";
    for (const code of [
      "globalThis.left = 1; var later = 2; 0",
      "Object.prototype.planted = 1; Array.prototype.map = () => ['forged']; JSON.stringify = () => '7'; 0",
      "globalThis.left = new Uint8Array(20e6).fill(1); 0",
      "globalThis.left = Promise.resolve().then(() => { later = 1 }); throw new Error('no')",
      "await new Promise(() => { globalThis.left = 1 })",
      "Object.freeze(globalThis); Object.defineProperty(globalThis, 'left', { value: 1 })",
    ]) {
      await run(code);
      expect(await run(marks), code).toMatchObject({ value: ["undefined", "undefined", false, null, 1] });
    }
  });

  test("no two calls draw the same random numbers", async () => {
    const drawn = new Set<unknown>();
    for (let i = 0; i < 20; i++) drawn.add((await run("Math.random()")).value);
    expect(drawn.size).toBe(20);
  });

  test("a program without a value has no result", async () => {
    const result = await run("let x = 1;");
    expect(result.status).toBe("ok");
    expect(result).not.toHaveProperty("value");
  });

  test("console output is captured in order, errors and objects among it", async () => {
    const result = await run(
      "console.log('a', 1, { b: [2n] }); console.error(new TypeError('no')); console.log(undefined)",
    );
    expect(result.stdout).toMatch(/^a 1 \{"b":\["2"\]\}\nTypeError: no\n[^]*undefined\n$/);
  });

  test("an error names its message and line, and keeps what was printed before", async () => {
    const result = await run("console.log('before');\nthrow new RangeError('too far');");
    expect(result).toMatchObject({ status: "error", exitCode: 1, stdout: "before\n" });
    expect(result.stderr).toMatch(/^RangeError: too far\n.*code\.js:2/);
    expect(result.output).toBe(`before\n${result.stderr}`);
  });

  test.each([
    ["a syntax error", "let let = (", /SyntaxError/],
    ["waiting for nothing", "await new Promise(() => {})", /never happens/],
    ["a cycle", "const a = {}; a.a = a; a", /circular/],
    ["a value without a JSON form inside a getter", "({ get x() { throw new Error('gotcha') } })", /gotcha/],
  ])("%s is an error that says so", async (_name, code, message) => {
    const result = await run(code);
    expect(result.status).toBe("error");
    expect(result.stderr).toMatch(message);
  });

  test("nothing is carried from one call to the next", async () => {
    await run("globalThis.left = 'behind'; Array.prototype.planted = 1; 1");
    expect((await run("[typeof left, [].planted === undefined]")).value).toEqual(["undefined", true]);
  });
});

test("J06 a result cannot bring keys that reach a prototype", async () => {
  const result = await run(
    `JSON.parse('{"__proto__": {"admin": true}, "constructor": {"prototype": {"admin": true}}, "safe": 1}')`,
  );
  expect(result.value).toEqual({ safe: 1 });
  expect(Object.keys(result.value as object)).toEqual(["safe"]);
  expect(({} as Record<string, unknown>)["admin"]).toBeUndefined();
});

test("code that replaces every intrinsic fools only itself", async () => {
  const result = await run(
    `
    JSON.stringify = () => { throw 1 }; Promise.prototype.then = () => { for (;;); }; String.prototype.slice = null;
    Object.defineProperty(Object.prototype, "status", { get() { for (;;); }, set() { for (;;); } });
    globalThis.report = globalThis.write = 1; ({ fine: true })`,
    1_000,
  );
  expect(["ok", "timeout", "error"]).toContain(result.status);
  if (result.status === "ok") expect(result.value).toEqual({ fine: true });
  expect(result.durationMs).toBeLessThan(4_000);
});

test("what a guest prints is stripped of everything that a terminal would obey", async () => {
  const result = await run(
    String.raw`console.log("\x1b[31mred\x1b[0m \x1b]0;title\x07\u202egnp.exe\u0000\x9b2J\rback\u200b\u2066")`,
  );
  expect(result.stdout).toBe("red gnp.exeback\n");
});

test("long output keeps its beginning and its end, and says how much is missing", async () => {
  const result = await run(
    "console.log('first'); for (let i = 0; i < 500; i++) console.log('x'.repeat(60)); console.log('last')",
  );
  expect(result).toMatchObject({ status: "ok", truncated: true });
  expect(result.stdout).toMatch(/^first\n[^]*\n\.\.\. \[\d+ bytes dropped\]\n[^]*last\n$/);
  expect(result.bytesDropped).toBeGreaterThan(20_000);
});

test("a cancelled run dies within a second, even in a loop that no interrupt reaches", async () => {
  const cancel = new AbortController();
  // One native search of 6e12 comparisons. A power of BigInts would not do: it ends as "too large" after 0.3 s.
  const code = "'a'.repeat(5_000_000).indexOf('a'.repeat(2_500_000) + 'b'); for (;;);";
  const running = session.run({ language: "js", code, signal: cancel.signal });
  setTimeout(() => cancel.abort(), 300);
  const started = performance.now();
  expect((await running).status).toBe("killed");
  expect(performance.now() - started).toBeLessThan(1_300);
});

test("a run that was cancelled before it began does not begin", async () => {
  const result = await session.run({ language: "js", code: "1", signal: AbortSignal.abort() });
  expect(result).toMatchObject({ status: "killed", exitCode: null });
});

test("a guest process has no environment, no files, no root, and the limits of its policy", async () => {
  await run("1"); // so that the pool holds idle guests
  await expect.poll(() => guestPids().length).toBeGreaterThan(0);
  // `exec` and the drop of root come a moment after the start.
  const read = (file: string): string => readFileSync(`/proc/${guestPids()[0]}/${file}`, "utf8");
  await expect.poll(() => read("status")).toMatch(/^Uid:\t(?!0\b)\d+/m);
  expect(read("environ")).toBe("");
  expect(read("limits")).toMatch(/Max file size\s+0 /);
  expect(read("limits")).toMatch(/Max cpu time\s+18 /);
  expect(read("limits")).toMatch(/Max data size\s+939524096 /);
  const box = (await canBox()) ? ["NoNewPrivs:\t1", "Seccomp:\t2"] : [];
  for (const line of box) expect(read("status")).toContain(line);
});

test("idle guests that somebody killed are replaced", async () => {
  await run("1");
  await expect.poll(() => guestPids().length).toBeGreaterThan(1);
  // One more may still be starting in the place of the one that was used.
  const killAll = (): number => {
    const pids = guestPids();
    for (const pid of pids) process.kill(pid, "SIGKILL");
    return pids.length;
  };
  await expect.poll(killAll, { timeout: 20_000 }).toBe(0);
  expect(await run("2")).toMatchObject({ status: "ok", value: 2 });
});

test("network and environment are refused, not ignored", async () => {
  const open = (policy: object) => executor.open(nowhere, { ...defaultPolicy, ...policy });
  await expect(open({ network: { allow: ["example.com"] } })).rejects.toMatchObject({ code: "sandbox_denied" });
  await expect(open({ env: { TOKEN: "x" } })).rejects.toMatchObject({ code: "sandbox_denied" });
});

test("the self-test passes here, and calls in parallel do not mix", async () => {
  expect(await executor.probe("js")).toMatchObject({ available: true, languages: ["js"] });
  const results = await Promise.all([1, 2, 3, 4].map((n) => run(`console.log(${n}); ${n}`)));
  expect(results.map(({ value, stdout }) => [value, stdout])).toEqual([1, 2, 3, 4].map((n) => [n, `${n}\n`]));
});

test("a closed executor runs nothing", async () => {
  const closed = createWasmExecutor();
  const late = await closed.open(nowhere, defaultPolicy);
  await closed.close();
  expect(await late.run({ language: "js", code: "1" })).toMatchObject({ status: "denied" });
});
