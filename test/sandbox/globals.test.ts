/** Globals of JavaScript that stay from call to call, and what becomes of them when somebody has tampered with them. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { afterAll, afterEach, beforeEach, expect, test } from "vitest";
import { defaultPolicy, type RunResult, type Session, type ToolExecutor } from "../../tools/sandbox/types.ts";
import { createWasmExecutor } from "../../tools/sandbox/wasm/executor.ts";
import { packBundle, unpackHeader } from "../../tools/sandbox/wasm/protocol.ts";
import { guestPids } from "./children.ts";

const here = { threadId: "00000000-0000-4000-8000-000000000001", root: mkdtempSync(join(tmpdir(), "pawl-globals-")) };
const none = Buffer.alloc(0);
let executor: ToolExecutor;

beforeEach(() => void (executor = createWasmExecutor()));
afterEach(() => executor.close());
afterAll(() => rmSync(here.root, { recursive: true }));

const resume = (snapshot: Uint8Array, policy = defaultPolicy): Promise<Session> =>
  executor.resume!(here, policy, snapshot);
const js = (session: Session, code: string, timeoutMs = 5_000): Promise<RunResult> =>
  session.run({ language: "js", code, timeoutMs });

/** Globals that `code` has left. */
async function left(code: string): Promise<Buffer> {
  const session = await resume(none);
  expect(await js(session, code)).toMatchObject({ status: "ok", stderr: "" });
  return Buffer.from(await session.snapshot!());
}

test("variables, functions, closures and objects are there in the next call", async () => {
  const session = await resume(none);
  await js(
    session,
    "let n = 1; const add = (k) => (n += k); globalThis.seen = new Map([['a', [1]]]); class P { x = 7 }",
  );
  expect(await js(session, "add(2); [n, seen.get('a'), new P().x]")).toMatchObject({ value: [3, [1], 7] });
});

test("they are there after the guest was killed, and in another process", async () => {
  const first = await resume(none);
  await js(first, "let n = 41");
  for (const pid of guestPids()) process.kill(pid, "SIGKILL");
  expect(await js(first, "n += 1")).toMatchObject({ value: 42 });
  const snapshot = await first.snapshot!();
  await executor.close();
  executor = createWasmExecutor();
  expect(await js(await resume(snapshot), "n")).toMatchObject({ value: 42, stderr: "" });
});

test("each session goes on from its own snapshot, whatever the process has seen in between", async () => {
  const one = await left("let n = 'one'");
  const two = await left("let n = 'two'");
  const sessions = await Promise.all([one, two, one].map((snapshot) => resume(snapshot)));
  const values: unknown[] = [];
  for (const session of sessions) values.push((await js(session, "n += '!'")).value);
  expect(values).toEqual(["one!", "two!", "one!"]);
});

test("runs of one session take turns", async () => {
  const session = await resume(none);
  await js(session, "let n = 0");
  await Promise.all(Array.from({ length: 5 }, () => js(session, "n++")));
  expect(await js(session, "n")).toMatchObject({ value: 5 });
});

test("an error of the code keeps what it had done; a time-out and a lack of memory leave the globals as they were", async () => {
  const session = await resume(none);
  await js(session, "let n = 1");
  expect(await js(session, "n = 2; throw new Error('no')")).toMatchObject({ status: "error" });
  expect(await js(session, "n = 3; for (;;);", 200)).toMatchObject({ status: "timeout" });
  expect(await js(session, "n = 4; for (const a = []; ; ) a.push(new Array(1e5).fill(1))")).toMatchObject({
    status: "oom",
  });
  expect(await js(session, "n")).toMatchObject({ value: 2 });
});

test("a promise of an earlier call that settles in a later one is not its result", async () => {
  const session = await resume(none);
  await js(session, "await new Promise((resolve) => { globalThis.go = resolve }); 'earlier'");
  expect(await js(session, "go(); 'later'")).toMatchObject({ status: "ok", value: "later" });
});

test("code that spoils the intrinsics spoils neither the result of the next call nor its own", async () => {
  const session = await resume(none);
  const code =
    "JSON.stringify = () => 'forged'; Promise.prototype.then = null; String.prototype.slice = null; ({ a: 1 })";
  expect(await js(session, code)).toMatchObject({ value: { a: 1 } });
  expect(await js(session, "({ b: 2 })")).toMatchObject({ value: { b: 2 } });
});

test("globals beyond the limit are not kept, and the result says so", async () => {
  const session = await resume(none, { ...defaultPolicy, globalsMb: 1 });
  await js(session, "let n = 1");
  const fill = "n = 2; globalThis.noise = Uint8Array.from({ length: 2e6 }, () => Math.random() * 256); 0";
  expect(await js(session, fill)).toMatchObject({ status: "output_limit", stderr: expect.stringContaining("1 MB") });
  expect(await js(session, "n")).toMatchObject({ value: 1 });
});

test("a VM that is full is kept and comes back", async () => {
  const full = await left("const full = new Uint8Array(55 * 1024 * 1024).fill(3); 0");
  await executor.close();
  executor = createWasmExecutor();
  expect(await js(await resume(full), "full.at(-1)")).toMatchObject({ status: "ok", value: 3 });
});

const lost = (why: string) => ({ status: "ok", value: "undefined", stderr: expect.stringContaining(why) });

/** The globals with their memory and their header as `change` leaves them, packed as a guest packs them. */
function tampered(snapshot: Buffer, change: (memory: Buffer, header: Record<string, unknown>) => void): Buffer {
  const { header, rest } = unpackHeader(snapshot);
  const memory = zstdDecompressSync(rest);
  change(memory, header as Record<string, unknown>);
  return packBundle(header as object, [zstdCompressSync(memory)]);
}

test.each([
  ["cut short", (snapshot: Buffer) => snapshot.subarray(0, snapshot.length - 100), "damaged"],
  ["cut in its header", (snapshot: Buffer) => snapshot.subarray(0, 10), "damaged"],
  ["with a bit turned", (snapshot: Buffer) => ((snapshot[5_000]! ^= 1), snapshot), "damaged"],
  ["that are no snapshot", () => Buffer.from("nonsense"), "damaged"],
  [
    "of another engine",
    (snapshot: Buffer) => tampered(snapshot, (_, header) => void (header["engine"] = "other")),
    "another version of the engine",
  ],
  [
    "that unpack to a gigabyte",
    (snapshot: Buffer) =>
      packBundle(unpackHeader(snapshot).header as object, [zstdCompressSync(Buffer.alloc(2 ** 30))]),
    "more memory than this call has",
  ],
] as const)("globals %s are refused: the code begins anew and is told so", async (_what, change, why) => {
  const snapshot = change(await left("let n = 1"));
  expect(await js(await resume(snapshot), "typeof n")).toMatchObject(lost(why));
});

test("a run with less memory than the globals take begins anew", async () => {
  const large = await left("let n = new Uint8Array(30 * 1024 * 1024); 0");
  expect(await js(await resume(large, { ...defaultPolicy, jsMemMb: 16 }), "typeof n")).toMatchObject(
    lost("more memory"),
  );
});

/** What somebody who took an engine over might leave behind. Whatever comes of it, it stays in the guest. */
const hostile: readonly (readonly [name: string, change: Parameters<typeof tampered>[1]])[] = [
  ["zeros", (memory) => void memory.fill(0)],
  ["ones", (memory) => void memory.fill(255)],
  [
    "noise over the heap",
    (memory) => memory.forEach((_, at) => at > 65_536 && (memory[at] = (at * 2_654_435_761) & 255)),
  ],
  ["a stack outside", (_, header) => void (header["stackPointer"] = 2 ** 31)],
  ["a stack at the bottom", (_, header) => void (header["stackPointer"] = 8)],
  ["a runtime elsewhere", (_, header) => void (header["runtimePtr"] = 4)],
  ["a context outside", (_, header) => void (header["contextPtr"] = 2 ** 32 - 1)],
  ["a function outside", (_, header) => void (header["finish"] = 2 ** 31)],
  ["a function that is none", (_, header) => void (header["finish"] = 1_024)],
  ["a word for an address", (_, header) => void (header["finish"] = "__proto__")],
];

test.each(hostile)("hostile globals (%s) end in an answer, and what they did is not kept", async (_name, change) => {
  const session = await resume(tampered(await left("let n = 1"), change));
  const { status } = await js(session, "typeof n", 1_000);
  expect(["ok", "error", "timeout", "oom", "killed"]).toContain(status);
  const clean = await resume(none);
  expect(await js(clean, "typeof n")).toMatchObject({ status: "ok", value: "undefined" });
});

test("limits are those of now and not those in the snapshot", async () => {
  const before = await left("let n = 1");
  const session = await resume(before, { ...defaultPolicy, jsMemMb: 8 });
  expect(await js(session, "new Uint8Array(20 * 1024 * 1024)")).toMatchObject({ status: "oom" });
  expect(await js(session, "for (;;);", 200)).toMatchObject({ status: "timeout" });
});

test("nothing but JavaScript has globals that are kept", async () => {
  expect(await (await resume(none)).run({ language: "shell", code: "true" })).toMatchObject({ status: "denied" });
});
