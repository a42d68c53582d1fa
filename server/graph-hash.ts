/**
 * Says whether two processes run the same graph: its file, what that imports of the project, and the packages that
 * execute it. Other packages do not count; neither do files that are named at run time only.
 */
import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";

/** Whatever looks like a relative path: one that is no import costs a look at the disk, one that was missed a wrong hash. */
const RELATIVE = /["'`](\.{1,2}\/[^"'`\n]+)["'`]/g;
const SOURCE = /\.[mc]?[jt]sx?$/;

/** `packages`: name and version of each, in a fixed order. Hexadecimal. */
export function graphHash(file: string, packages: readonly string[]): string {
  const hash = createHash("sha256");
  for (const text of sourcesOf(file)) hash.update(text).update("\0");
  for (const name of packages) hash.update(name).update("\0");
  return hash.digest("hex");
}

/** The texts of the file and of all that it leads to, each once, in the order in which they are named. */
function sourcesOf(entry: string): string[] {
  const texts = new Map<string, string>();
  const visit = (file: string): void => {
    if (texts.has(file)) return;
    const text = readFileSync(file, "utf8");
    texts.set(file, text);
    for (const [, path = ""] of text.matchAll(RELATIVE)) {
      const found = resolve(dirname(file), path);
      if (SOURCE.test(found) && statSync(found, { throwIfNoEntry: false })?.isFile()) visit(found);
    }
  };
  visit(entry);
  return [...texts.values()];
}
