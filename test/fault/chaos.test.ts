/** The short form of `npm run chaos`: what must hold on any machine, however slow; nothing about times. */
import { expect, test } from "vitest";
import { chaos } from "./chaos/chaos.ts";
import { FAULTS } from "./chaos/faults.ts";
import { invariants, render } from "./chaos/report.ts";

test("whatever is killed, stopped or cut: no run is lost or doubled, no thread stranded, no effect repeated unseen", async () => {
  const told: string[] = [];
  const outcome = await chaos({ seed: "1", runs: 60, minutes: 0, only: [], say: (text) => void told.push(text) });
  const rows = invariants(outcome);
  const missed = rows.filter(({ isMet }) => !isMet);
  expect(missed, `${render(rows)}\n${told.join("\n")}`).toEqual([]);
  expect([...outcome.faults.keys()].toSorted()).toEqual(Object.keys(FAULTS).toSorted());
  expect(outcome.journal.accepted.length).toBeGreaterThan(60);
  expect(outcome.journal.readings.length).toBeGreaterThan(0);
  expect(outcome.journal.decisions.length).toBeGreaterThan(0);
}, 600_000);
