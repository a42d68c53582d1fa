/** .env.example lists what lib/config.ts reads: every variable, with its default. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { readConfig } from "../../lib/config.ts";
import { DEFAULT_PORT } from "../../server/listen.ts";

const example = readFileSync(".env.example", "utf8");
const given = Object.fromEntries(
  [...example.matchAll(/^#([A-Z][A-Z0-9_]*)=(.*)$/gm)].map(([, name = "", value = ""]) => [name, value]),
);

test("the example and the configuration name the same variables", () => {
  const read = [...readFileSync("lib/config.ts", "utf8").matchAll(/^ {2}([A-Z][A-Z0-9_]*): /gm)].map(
    ([, name = ""]) => name,
  );
  expect(Object.keys(given).toSorted()).toEqual(read.toSorted());
});

test("each value of the example is the default, or stands for one that has none", () => {
  const { DATABASE_URL, MODEL_BASE_URL, PORT, ...defaults } = given;
  expect(readConfig(defaults)).toEqual(readConfig({}));
  expect(readConfig({ DATABASE_URL, MODEL_BASE_URL, PORT }).port).toBe(DEFAULT_PORT);
});

test("what a project's file may not set stands in the part for the process's environment", () => {
  const [forFile = "", forProcess = ""] = example.split("# For the process's environment only");
  expect(forFile).not.toMatch(/^#(PAWL_|DATABASE_URL)/m);
  expect(forProcess).not.toMatch(/^#(?!PAWL_|DATABASE_URL)[A-Z0-9_]+=/m);
});

test("every variable has a line that says what it is", () => {
  const lines = example.split("\n");
  const bare = lines.filter((line, at) => /^#[A-Z0-9_]+=/.test(line) && !/^# \S/.test(lines[at - 1] ?? ""));
  expect(bare).toEqual([]);
});
