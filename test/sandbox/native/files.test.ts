/** A guest writes while we count and give; neither may be led astray. */
import { chownSync, lstatSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { accountOf, giveTo, isOpenToOthers } from "../../../tools/sandbox/native/account.ts";
import { countFiles } from "../../../tools/sandbox/native/files.ts";

let folder: string;
const inside = (...parts: string[]): string => join(folder, "workspace", ...parts);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "pawl-count-"));
  mkdirSync(inside());
  writeFileSync(join(folder, "outside"), "x".repeat(1_000));
});

afterEach(() => rmSync(folder, { recursive: true }));

const limits = { fileMb: 1, workspaceMb: 1, files: 100 };

test("files and folders count, links do with what they are and not with what they point to", async () => {
  mkdirSync(inside("a", "b"), { recursive: true });
  writeFileSync(inside("a", "b", "c"), "12345");
  symlinkSync(folder, inside("link"));
  symlinkSync(join(folder, "outside"), inside("a", "file-link"));
  expect(await countFiles([inside(), inside("a")], limits)).toEqual({ bytes: 10, files: 8 });
});

test("counting ends when it is too much", async () => {
  for (let i = 0; i < 10; i++) mkdirSync(inside(`d${i}`));
  for (let i = 0; i < 10; i++) for (let j = 0; j < 50; j++) writeFileSync(inside(`d${i}`, `f${j}`), "x");
  const { files } = await countFiles([inside()], limits);
  expect(files).toBeGreaterThan(100);
  expect(files).toBeLessThan(510);
});

test("folders too deep for a path are too many", async () => {
  const here = process.cwd();
  process.chdir(inside());
  for (let i = 0; i < 40; i++) {
    mkdirSync("d".repeat(200));
    process.chdir("d".repeat(200));
  }
  process.chdir(here);
  expect(await countFiles([inside()], limits)).toMatchObject({ files: Number.POSITIVE_INFINITY });
  await rmDeep(inside());
});

/** By steps, as its paths are too long for one. */
async function rmDeep(path: string): Promise<void> {
  const { execFileSync } = await import("node:child_process");
  execFileSync("rm", ["-rf", path]);
}

const isRoot = process.getuid?.() === 0;

test("only root gives accounts, the same for a workspace each time", () => {
  const [one, again, other] = ["a", "a", "b"].map((threadId) => accountOf({ threadId }));
  expect(one).toBe(again);
  if (isRoot) expect(one).not.toBe(other);
  else expect(one).toBeUndefined();
});

describe.runIf(isRoot)("under root", () => {
  const owner = (path: string): number => lstatSync(path).uid;

  test("what root wrote is given away; what links point to is not, nor what is another's", async () => {
    mkdirSync(inside("a"));
    writeFileSync(inside("a", "own"), "");
    writeFileSync(inside("another's"), "");
    chownSync(inside("another's"), 12_345, 12_345);
    symlinkSync(join(folder, "outside"), inside("file-link"));
    symlinkSync(folder, inside("folder-link"));
    await giveTo(70_001, inside());
    expect([inside(), inside("a"), inside("a", "own"), inside("file-link")].map(owner)).toEqual(Array(4).fill(70_001));
    expect(owner(inside("another's"))).toBe(12_345);
    expect([folder, join(folder, "outside")].map(owner)).toEqual([0, 0]);
  });

  test("a folder that is closed to others is noticed", async () => {
    expect(await isOpenToOthers(inside())).toBe(false);
    expect(await isOpenToOthers("/usr/bin")).toBe(true);
  });
});
