/** The figures that docstrings say stand in the documents. */
import { expect, test } from "vitest";
import { failureClasses } from "../../models/failure.ts";
import { defaultPolicy } from "../../tools/sandbox/types.ts";
import { tableUnder } from "./documents.ts";

const numberIn = (cell: string | undefined): number => Number(cell?.replaceAll(/[^\d.]/g, ""));

test("retries by class", () => {
  const listed = tableUnder("docs/architecture.md", "Retries by class").map(([kind, ...figures]) => [
    kind,
    ...figures.map(numberIn),
  ]);
  const actual = Object.entries(failureClasses).map(([kind, f]) => [kind, f.retries, f.firstMs, f.longestMs]);
  expect(listed).toEqual(actual);
});

test("limits of the sandbox", () => {
  const listed = tableUnder("docs/sandbox.md", "Limits of one call").map(([name, figure]) => [name, numberIn(figure)]);
  expect(listed).toEqual(Object.entries(defaultPolicy).filter(([, limit]) => typeof limit === "number"));
});
