/** A guest writes while we count; that must neither be led astray nor cost us more than it should. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { entriesBelow } from "../../tools/sandbox/listing.ts";
import { usageOf } from "../../tools/sandbox/usage.ts";

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
  expect(await usageOf([inside(), inside("a")], limits)).toEqual({ bytes: 10, files: 8 });
});

test("counting ends when it is too much", async () => {
  for (let i = 0; i < 10; i++) mkdirSync(inside(`d${i}`));
  for (let i = 0; i < 10; i++) for (let j = 0; j < 50; j++) writeFileSync(inside(`d${i}`, `f${j}`), "x");
  const { files } = await usageOf([inside()], limits);
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
  expect(await usageOf([inside()], limits)).toMatchObject({ files: Number.POSITIVE_INFINITY });
  rmDeep(inside());
});

/** By steps, as its paths are too long for one. */
function rmDeep(path: string): void {
  execFileSync("rm", ["-rf", path]);
}

test("what is left out is counted nowhere, and all else is", async () => {
  const name = fc.constantFrom("a", "b", "c");
  const paths = fc.uniqueArray(fc.tuple(name, name).map((parts) => parts.join("/")));
  await fc.assert(
    fc.asyncProperty(paths, fc.func(fc.boolean()), async (files, isLeftOut) => {
      rmSync(inside(), { recursive: true });
      for (const path of files) {
        mkdirSync(inside(path, ".."), { recursive: true });
        writeFileSync(inside(path), "12345");
      }
      const left = files.filter((path) => isLeftOut(path));
      const folders = new Set(files.map((path) => path.slice(0, 1))).size;
      const kept = files.length - left.length;
      mkdirSync(inside(), { recursive: true });
      expect(await usageOf([inside()], limits, new Set(left))).toEqual({ bytes: 5 * kept, files: folders + kept });
    }),
    { numRuns: 30 },
  );
});

test("folders without end cost no more descriptors than a path may have parts", async () => {
  mkdirSync(inside(...Array<string>(200).fill("d")), { recursive: true });
  const open = (): number => readdirSync("/proc/self/fd").length;
  const before = open();
  let most = 0;
  const watch = setInterval(() => (most = Math.max(most, open())), 0);
  const entries = await Array.fromAsync(entriesBelow({ threadId: "deep", root: inside() }, "."));
  clearInterval(watch);
  expect(entries).toHaveLength(32);
  expect(most).toBeLessThan(before + 50);
});
