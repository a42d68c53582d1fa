/** A guest writes while we give; that must not be led astray. */
import { chownSync, lstatSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { accountOf, giveTo, isOpenToOthers } from "../../../tools/sandbox/native/account.ts";

let folder: string;
const inside = (...parts: string[]): string => join(folder, "workspace", ...parts);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "pawl-account-"));
  mkdirSync(inside());
  writeFileSync(join(folder, "outside"), "x".repeat(1_000));
});

afterEach(() => rmSync(folder, { recursive: true }));

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
