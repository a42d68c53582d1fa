/** The import directions, as a test: an edge not listed here is a design change and wants a reason in docs/decisions/. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, sep } from "node:path";
import { expect, test } from "vitest";

const mayImport: Record<string, readonly string[]> = {
  lib: [],
  db: ["lib"],
  tools: ["lib"],
  models: ["lib"],
  checkpoints: ["db", "lib"],
  nodes: ["tools", "models", "lib"],
  graphs: ["nodes", "tools", "models", "lib"],
  runs: ["checkpoints", "db", "lib"],
  server: ["graphs", "runs", "checkpoints", "models", "db", "lib", "tools/sandbox"],
};

function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => join(folder, file));
}

/** The relative imports of a file, type imports and dynamic ones included, from the root of the tree. */
function imports(file: string): string[] {
  return [...readFileSync(file, "utf8").matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"(\.[^"]+)"/g)].map(([, target = ""]) =>
    normalize(join(dirname(file), target)).replaceAll(sep, "/"),
  );
}

test.each(Object.entries(mayImport))("%s imports only %j", (folder, allowed) => {
  const strays = sources(folder).flatMap((file) =>
    imports(file)
      .filter((target) => ![folder, ...allowed].some((base) => target.startsWith(`${base}/`)))
      .map((target) => `${file} -> ${target}`),
  );
  expect(strays).toEqual([]);
});

/** The guest looks in order to prove that it has none. */
const environmentReaders = ["lib/config.ts", "tools/sandbox/wasm/guest-io.ts"];

test("only lib/config reads the environment", () => {
  const readers = Object.keys(mayImport)
    .flatMap(sources)
    .filter((file) => readFileSync(file, "utf8").includes("process.env"));
  expect(readers.filter((file) => !environmentReaders.includes(file))).toEqual([]);
});

const exported = /^export (?:async )?(?:function\*?|const|class|interface|type) (\w+)/gm;

test("what a file exports another one uses", () => {
  const texts = new Map(
    [...Object.keys(mayImport), "test", "bench", "scripts"].flatMap(sources).map((f) => [f, readFileSync(f, "utf8")]),
  );
  const words = new Map([...texts].map(([file, text]) => [file, new Set(text.match(/\w+/g))]));
  const unused = [...texts].flatMap(([file, text]) =>
    [...text.matchAll(exported)]
      .map(([, name = ""]) => name)
      .filter((name) => ![...words].some(([other, used]) => other !== file && used.has(name)))
      .map((name) => `${file}: ${name}`),
  );
  expect(unused).toEqual([]);
});
