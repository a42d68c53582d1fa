/** A session is a backend for deepagents: the shapes are that library's, and its file operations do what it says. */
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isSandboxBackend, type SandboxBackendProtocolV2 } from "deepagents";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { defaultPolicy, type Session } from "../../tools/sandbox/types.ts";
import { createWasmExecutor } from "../../tools/sandbox/wasm/executor.ts";

const executor = createWasmExecutor();
let root: string;
let session: Session;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "pawl-backend-"));
  session = await executor.open({ threadId: "t", root }, { ...defaultPolicy, fileMb: 1 });
});
beforeEach(async () => {
  for (const { path } of (await session.ls("/workspace")).files ?? []) await session.delete(path);
});
afterAll(async () => {
  await executor.close();
  rmSync(root, { recursive: true });
});

test("the types are those of deepagents", () => {
  const backend: SandboxBackendProtocolV2 = session;
  expect(isSandboxBackend(backend)).toBe(true);
  expect(session.id).toMatch(/^[0-9a-f-]{36}$/);
});

test("a command runs over the files, and its result has exactly three fields", async () => {
  await session.write("/workspace/in.txt", "b\na\n");
  const result = await session.execute("sort in.txt > out.txt; cat out.txt; echo lost >&2; exit 4");
  expect(result).toEqual({ output: "a\nb\nlost", exitCode: 4, truncated: false });
  expect(await session.read("/workspace/out.txt")).toMatchObject({ content: "a\nb\n", totalLines: 2 });
  expect(await session.execute("sleep 10", { timeout: 0.3 })).toMatchObject({ exitCode: null });
});

describe("files", () => {
  test("are uploaded and downloaded with a result for each", async () => {
    const bytes = new Uint8Array([0, 255, 10]);
    const uploaded = await session.uploadFiles([
      ["/workspace/a/b.bin", bytes],
      ["/etc/passwd", bytes],
      ["/workspace", bytes],
    ]);
    expect(uploaded).toEqual([
      { path: "/workspace/a/b.bin", error: null },
      { path: "/etc/passwd", error: "invalid_path" },
      { path: "/workspace", error: "is_directory" },
    ]);
    const [found, missing] = await session.downloadFiles(["/workspace/a/b.bin", "/workspace/no"]);
    expect(Buffer.from(found!.content!)).toEqual(Buffer.from(bytes));
    expect(missing).toEqual({ path: "/workspace/no", content: null, error: "file_not_found" });
  });

  test("are read by lines, and as what they are", async () => {
    await session.write("/workspace/t", "1\n2\n3\n4");
    expect(await session.read("/workspace/t", 1, 2)).toEqual({
      content: "2\n3",
      mimeType: "text/plain",
      totalLines: 4,
      startLine: 2,
      endLine: 3,
      nextOffset: 3,
    });
    await session.uploadFiles([["/workspace/b", new Uint8Array([0, 1])]]);
    expect((await session.read("/workspace/b")).content).toBeInstanceOf(Uint8Array);
    expect((await session.readRaw("/workspace/t")).data).toMatchObject({
      content: "1\n2\n3\n4",
      mimeType: "text/plain",
    });
    await session.write("/workspace/empty", "");
    expect(await session.read("/workspace/empty")).toMatchObject({ content: "", totalLines: 0 });
  });

  test("are edited only where it is clear what is meant", async () => {
    await session.write("/workspace/e", "a $& a");
    expect(await session.edit("/workspace/e", "a", "b")).toMatchObject({ error: expect.stringContaining("2 times") });
    expect(await session.edit("/workspace/e", "$&", "$1")).toEqual({ path: "/workspace/e", occurrences: 1 });
    expect(await session.edit("/workspace/e", "a", "aa", true)).toMatchObject({ occurrences: 2 });
    expect(await session.read("/workspace/e")).toMatchObject({ content: "aa $1 aa" });
    expect(await session.edit("/workspace/none", "a", "b")).toMatchObject({
      error: expect.stringMatching(/^file_not_found/),
    });
  });

  test("edited at the same time keep every edit", async () => {
    await session.write("/workspace/e", "0 1 2 3 4 5 6 7");
    await Promise.all(Array.from({ length: 8 }, (_, n) => session.edit("/workspace/e", `${n}`, `<${n}>`)));
    expect((await session.read("/workspace/e")).content).toBe("<0> <1> <2> <3> <4> <5> <6> <7>");
  });

  test("are listed folder by folder, from the root of the sandbox on", async () => {
    await session.write("/workspace/d/x", "1");
    expect(await session.ls("/")).toEqual({ files: [{ path: "/workspace", is_dir: true }] });
    expect((await session.ls("/workspace")).files).toMatchObject([{ path: "/workspace/d", is_dir: true }]);
    expect((await session.ls("/workspace/d")).files).toMatchObject([
      { path: "/workspace/d/x", is_dir: false, size: 1 },
    ]);
    expect(await session.ls("/workspace/no")).toMatchObject({ error: expect.stringMatching(/^file_not_found/) });
  });

  test("are found by name and by content, and links are not followed", async () => {
    for (const path of ["a.ts", "d/b.ts", "d/e/c.ts", "d/n.md"])
      await session.write(`/workspace/${path}`, "one\n[two]\n");
    symlinkSync("/etc", join(root, "etc"));
    const paths = async (pattern: string, path?: string) =>
      (await session.glob(pattern, path)).files?.map((f) => f.path);
    expect(await paths("*.ts")).toEqual(["/workspace/a.ts"]);
    expect(await paths("**/*.ts")).toEqual(["/workspace/a.ts", "/workspace/d/b.ts", "/workspace/d/e/c.ts"]);
    expect(await paths("*.ts", "/workspace/d")).toEqual(["/workspace/d/b.ts"]);
    expect((await session.grep("[two]", "/workspace/d", "*.md")).matches).toEqual([
      { path: "/workspace/d/n.md", line: 2, text: "[two]" },
    ]);
    expect(await session.grep("one", null, null, 2)).toMatchObject({ truncated: true, matches: { length: 2 } });
    expect((await session.grep("one", "/workspace/a.ts")).matches).toHaveLength(1);
    expect(await session.grep("root", "/workspace/etc")).toMatchObject({
      error: expect.stringMatching(/^permission_denied/),
    });
  });
});

test("output that was cut is whole in a file that the next command can read", async () => {
  const result = await session.run({ language: "shell", code: "seq 1 40000; echo end" });
  expect(result).toMatchObject({
    status: "ok",
    truncated: true,
    artifact: expect.stringMatching(/^\/workspace\/\.out\//),
  });
  expect(result.output).toContain(`full output: ${result.artifact}]`);
  expect((await session.grep("end", result.artifact)).matches).toHaveLength(1);
});

test("output arrives while the code runs, and is kept when the code has to be killed", async () => {
  const seen: string[] = [];
  const result = await session.run({
    language: "python",
    code: "print('one')\nwhile True: pass",
    timeoutMs: 700,
    onOutput: ({ text }) => void seen.push(text),
  });
  expect(result).toMatchObject({ status: "timeout", stdout: "one\n" });
  expect(seen.join("")).toBe("one\n");
});

test("what a guest writes past the limits is not kept at all, and it is told so", async () => {
  await session.write("/workspace/kept", "before");
  const result = await session.run({
    language: "shell",
    code: "echo after > kept; s=0123456789; for i in $(seq 17); do s=$s$s; done; echo $s > big",
  });
  expect(result).toMatchObject({ status: "output_limit", stderr: expect.stringContaining("big is larger than 1 MB") });
  expect(await session.read("/workspace/kept")).toMatchObject({ content: "before" });
});
