/** Which versions of Node and LangGraph a package.json of ours lets through. */
import { expect, test } from "vitest";
import { refuseUnfittingInstall, satisfies } from "../../server/peer-check.ts";

test.each([
  ["24.0.0", ">=24"],
  ["25.1.0", ">=24"],
  ["1.4.18", "~1.4.18"],
  ["1.4.20", "~1.4.18"],
  ["1.2.13", "^1.2.13"],
  ["1.3.0", "^1.2.13"],
])("%s satisfies %s", (version, range) => expect(satisfies(version, range)).toBe(true));

test.each([
  ["23.9.1", ">=24"],
  ["1.4.17", "~1.4.18"],
  ["1.5.0", "~1.4.18"],
  ["2.4.18", "~1.4.18"],
  ["1.2.9", "^1.2.13"],
  ["1.1.20", "^1.2.13"],
  ["2.0.0", "^1.2.13"],
])("%s does not satisfy %s", (version, range) => expect(satisfies(version, range)).toBe(false));

test("a range that cannot be read is no range that everything satisfies", () => {
  expect(() => satisfies("1.0.0", "1.x || 2.x")).toThrow(/1\.x \|\| 2\.x/);
});

test("what this tree itself has installed fits", () => {
  expect(() => refuseUnfittingInstall()).not.toThrow();
});
