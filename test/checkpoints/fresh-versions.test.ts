import { expect, test } from "vitest";
import { FreshVersions } from "../../checkpoints/fresh-versions.ts";
import { Saver } from "../../checkpoints/saver.ts";

const nextVersion = (current: number): number => Saver.prototype.getNextVersion(current);

test("fresh versions are as many as there were, in the same order, and none of those that were", () => {
  const fresh = new FreshVersions();
  const counts = [...Array.from({ length: 30 }, (_, i) => i), ...Array.from({ length: 500 }, () => 7), 99_998];
  const versions = [1, 2, 8, ...counts.map((count) => nextVersion(count))];
  const renamed = versions.map((version) => fresh.of(version) as number);
  const ranks = (all: readonly number[]): number[] => {
    const order = [...new Set(all)].toSorted((a, b) => a - b);
    return all.map((version) => order.indexOf(version));
  };
  expect(ranks(renamed)).toEqual(ranks(versions));
  expect(renamed.map(Math.floor)).toEqual(versions.map(Math.floor));
  expect(renamed.filter((version) => versions.includes(version))).toEqual([1, 2, 8]); // the stock saver's
  expect(renamed.slice(3).map((version) => String(version).length)).toEqual(renamed.slice(3).map(() => 16));
  expect(versions.map((version) => fresh.of(version))).toEqual(renamed);
  expect(versions.map((version) => fresh.of(String(version)))).toEqual(renamed.map(String));
});

test("of versions that leave no room between them a fresh one is refused", () => {
  const fresh = new FreshVersions();
  const crowd = Array.from({ length: 200 }, (_, i) => Number(`123456789012.${100 + i}`));
  expect(() => crowd.map((version) => fresh.of(version))).toThrow(/too many/);
});
