/** The workspace holds what a model writes; none of it may reach, or come from, anywhere else. */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { readWorkspaceFile, writeWorkspaceFile } from "../../tools/sandbox/files.ts";
import { entriesBelow } from "../../tools/sandbox/listing.ts";
import { removeTree } from "../../tools/sandbox/machine-folders.ts";
import { defaultPolicy } from "../../tools/sandbox/types.ts";
import { openWorkspace, removeWorkspace, type Workspace } from "../../tools/sandbox/workspace.ts";

const dataDir = mkdtempSync(join(tmpdir(), "pawl-files-"));
const secret = join(dataDir, "secret.txt");
const threadId = "0190b7e0-0000-7000-8000-000000000001";
let workspace: Workspace;

beforeEach(async () => {
  await removeWorkspace(dataDir, threadId);
  writeFileSync(secret, "secret");
  workspace = await openWorkspace(dataDir, threadId);
});

afterAll(() => rmSync(dataDir, { recursive: true }));

const inside = (...parts: string[]): string => join(workspace.root, ...parts);
const read = async (path: string, maxBytes = 1_000): Promise<string> =>
  (await readWorkspaceFile(workspace, path, maxBytes)).toString();
const write = (path: string, text: string, policy = defaultPolicy): Promise<void> =>
  writeWorkspaceFile(workspace, { path, content: Buffer.from(text) }, policy);

describe("reading and writing", () => {
  test("a file is found by its relative and by its guest path", async () => {
    await write("notes/plan.md", "one");
    expect(await read("/workspace/notes/plan.md")).toBe("one");
    await write("/workspace/notes//./plan.md", "two");
    expect(await read("notes/plan.md")).toBe("two");
    expect(readdirSync(inside("notes")), "nothing unfinished stays").toEqual(["plan.md"]);
  });

  test("folders and files are for this user alone", async () => {
    await write("a/b.txt", "x");
    const modes = [workspace.root, inside("a"), inside("a", "b.txt")].map((path) => statSync(path).mode & 0o777);
    expect(modes).toEqual([0o700, 0o700, 0o600]);
  });

  test("a listing shows folders before their contents, and sizes", async () => {
    await write("b.txt", "12");
    await write("a/c.txt", "123");
    expect(await Array.fromAsync(entriesBelow(workspace, "/workspace"))).toMatchObject([
      { path: "a", type: "directory", size: 0 },
      { path: "a/c.txt", type: "file", size: 3 },
      { path: "b.txt", type: "file", size: 2 },
    ]);
  });

  test("a removed workspace is gone, and removing it again is no error", async () => {
    await write("a", "x");
    await removeWorkspace(dataDir, threadId);
    await removeWorkspace(dataDir, threadId);
    await expect(openWorkspace(dataDir, "../../etc")).rejects.toThrow();
    const again = await openWorkspace(dataDir, threadId);
    expect(await Array.fromAsync(entriesBelow(again, "."))).toEqual([]);
  });
});

describe.each([
  ["read", (path: string) => read(path)],
  ["write", (path: string) => write(path, "planted")],
])("%s refuses", (_name, access) => {
  test.each([
    ["..", "invalid_path"],
    ["../secret.txt", "invalid_path"],
    ["a/../../secret.txt", "invalid_path"],
    ["/workspace/../secret.txt", "invalid_path"],
    ["/workspace2/x", "invalid_path"],
    ["/etc/passwd", "invalid_path"],
    ["//etc/passwd", "invalid_path"],
    ["a\0b", "invalid_path"],
    ["x".repeat(300), "invalid_path"],
    ["a/".repeat(33), "invalid_path"],
    ["/workspace", "is_directory"],
    ["folder", "is_directory"],
    ["file/below", "invalid_path"],
    ["link", "permission_denied"],
    ["dangling", "permission_denied"],
    ["linked-folder/secret.txt", "permission_denied"],
    ["linked-folder/new.txt", "permission_denied"],
    ["hard-link", "permission_denied"],
    ["fifo", "permission_denied"],
  ])("%j with %s", async (path, code) => {
    mkdirSync(inside("folder"));
    writeFileSync(inside("file"), "x");
    symlinkSync(secret, inside("link"));
    symlinkSync("/nonexistent", inside("dangling"));
    symlinkSync(dataDir, inside("linked-folder"));
    linkSync(secret, inside("hard-link"));
    execFileSync("mkfifo", [inside("fifo")]);
    await expect(access(path)).rejects.toMatchObject({ name: "FileError", code });
    expect(readFileSync(secret, "utf8")).toBe("secret");
    expect(readdirSync(dataDir).sort()).toEqual(["secret.txt", "workspaces"]);
  });
});

test("a socket is refused at once", async () => {
  const server = createServer().listen(inside("socket"));
  await new Promise((resolve) => void server.once("listening", resolve));
  await expect(read("socket")).rejects.toMatchObject({ code: "permission_denied" });
  server.close();
});

test("an error names the guest's path and never ours", async () => {
  await expect(read("missing.txt")).rejects.toMatchObject({
    code: "file_not_found",
    message: expect.not.stringContaining(dataDir),
  });
});

test("a listing shows a symbolic link as such and does not follow it", async () => {
  symlinkSync("/", inside("root"));
  const entries = await Array.fromAsync(entriesBelow(workspace, "."));
  expect(entries).toMatchObject([{ path: "root", type: "other", size: 0 }]);
  await expect(Array.fromAsync(entriesBelow(workspace, "root"))).rejects.toMatchObject({ code: "permission_denied" });
});

test("caps hold for one file, for all together, for their number and for what is read", async () => {
  const mb = "x".repeat(1_024 * 1_024);
  const policy = { ...defaultPolicy, fileMb: 1, workspaceMb: 2, files: 4 };
  await expect(write("big", `${mb}x`, policy)).rejects.toMatchObject({ code: "permission_denied" });
  await write("one", mb, policy);
  await write("two", mb, policy);
  await expect(write("three", "x", policy)).rejects.toMatchObject({ message: expect.stringContaining("2 MB") });
  await write("two", "smaller", policy);
  await write("three", "x", policy);
  await write("four", "x", policy);
  await expect(write("five", "x", policy)).rejects.toMatchObject({ message: expect.stringContaining("4 files") });
  await write("four", "replaced", policy);
  await expect(read("one", 100)).rejects.toMatchObject({ code: "permission_denied" });
});

test("a folder nested deeper than a path may be long is removed whole, and nothing that a link in it names", async () => {
  const around = mkdtempSync(join(tmpdir(), "pawl-deep-"));
  const [root, outside] = [join(around, "root"), join(around, "outside")];
  mkdirSync(root);
  mkdirSync(outside);
  writeFileSync(join(outside, "kept"), "kept");
  const name = "d".repeat(250);
  // Past PATH_MAX, 4,096 bytes, step by step, as a guest can.
  const script = `ln -s ${outside} link; i=0; while [ $i -lt 40 ]; do mkdir ${name} && cd -P ${name} || exit 1; i=$((i+1)); done; echo x > file`;
  execFileSync("/bin/sh", ["-c", script], { cwd: root });
  await removeTree(root);
  expect(existsSync(root)).toBe(false);
  expect(readFileSync(join(outside, "kept"), "utf8")).toBe("kept");
  rmSync(around, { recursive: true });
});
