/**
 * Installs from the lock file when node_modules does not match it; `prestart` and `pretest` call it.
 * Plain JavaScript: it must run on the Node the user has (20 or newer), before the pinned one is installed.
 */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";

const root = new URL("../", import.meta.url);
const marker = new URL("node_modules/.setup-done", root);
const wanted = createHash("sha256")
  .update(readFileSync(new URL("package-lock.json", root)))
  .digest("hex");

function installed() {
  try {
    return readFileSync(marker, "utf8");
  } catch {
    return ""; // no marker: nothing was installed by us yet
  }
}

if (installed() !== wanted) {
  const npm = process.env.npm_execpath;
  const [command, args] = npm ? [process.execPath, [npm]] : ["npm", []];
  const { status, error } = spawnSync(command, [...args, "ci", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: root,
    stdio: "inherit",
  });
  if (error || status !== 0) {
    process.stderr.write(`Could not install the dependencies: ${error?.message ?? `npm ci ended with ${status}`}\n`);
    process.exit(1);
  }
  writeFileSync(marker, wanted);
}
