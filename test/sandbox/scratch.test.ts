/** What a killed server left in the temporary folder goes at the next start, and nothing else does. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { makeScratch, sweepScratch } from "../../tools/sandbox/scratch.ts";

const scratchFile = fileURLToPath(new URL("../../tools/sandbox/scratch.ts", import.meta.url));

/** A process that makes a folder, says its path, and waits. */
async function startOther() {
  const code = `
    import { makeScratch } from ${JSON.stringify(scratchFile)};
    process.stdout.write(await makeScratch("guest"));
    process.stdin.resume();`;
  const other = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: ["pipe", "pipe", "inherit"] });
  const [path] = (await once(other.stdout, "data")) as [Buffer];
  return { other, path: path.toString() };
}

test("folders of processes that are gone are swept with all that is in them, those of living ones stay", async () => {
  const outside = mkdtempSync(join(tmpdir(), "pawl-outside-"));
  writeFileSync(join(outside, "file"), "");
  const [dead, alive] = await Promise.all([startOther(), startOther()]);
  const own = await makeScratch("guest");
  mkdirSync(join(dead.path, "tmp"));
  symlinkSync(outside, join(dead.path, "workspace"));
  dead.other.kill("SIGKILL");
  await once(dead.other, "exit");
  await sweepScratch();
  expect([dead.path, alive.path, own, join(outside, "file")].map((path) => existsSync(path))).toEqual([
    false,
    true,
    true,
    true,
  ]);
  alive.other.kill("SIGKILL");
  await once(alive.other, "exit");
  await sweepScratch();
  expect(existsSync(alive.path)).toBe(false);
  for (const path of [own, outside]) rmSync(path, { recursive: true });
});
