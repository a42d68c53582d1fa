/** The outcome as a table, and whether it is what was promised. */
import { ascending, percentile } from "../../../bench/load.ts";
import { table } from "../../../bench/report.ts";
import type { Outcome } from "./chaos.ts";
import type { ShownBy } from "./recovery.ts";

export interface Row {
  readonly what: string;
  /** Absent for what is only told. */
  readonly wanted?: string;
  readonly got: string;
  readonly isMet: boolean;
  /** What was found, one a line. */
  readonly details?: readonly string[];
}

/** Milliseconds from the kill to the next attempt where the worker's lock shows its death; beyond the lease elsewhere. */
const RECOVERY_MS = 1_000;

/** Everything but times: what must hold on any machine. */
export function invariants({ journal, findings, misdeeds }: Outcome): Row[] {
  const none = (what: string, found: readonly string[]): Row => ({
    what,
    wanted: "0",
    got: String(found.length),
    isMet: found.length === 0,
    details: found,
  });
  return [
    none("created twice under one key", findings.createdTwice),
    none("lost", [...findings.lost, ...journal.givenUp.map((plan) => `${plan}: its client gave up`)]),
    none("stranded", findings.stranded),
    none("effects duplicated", findings.duplicated),
    none("effects told or recorded as what they are not", findings.miscounted),
    none("people taken for what they did not say", findings.wrongDecisions),
    none("ambiguous effects that nobody was told of", findings.unreported),
    none("states with a step lost or taken twice", findings.wrongStates),
    none("runs ended in an error", findings.failed),
    none("questions with two answers", journal.answeredTwice),
    none("answers that nobody gave", findings.strayAnswers),
    none("readers with an event twice or not at all", findings.wrongEvents),
    none("events lost from the log", findings.lostEvents),
    none("writes by whom the run was taken from", findings.lateWrites),
    none("what no client should have seen", journal.oddities),
    none("processes that ended by themselves, unhandled rejections", misdeeds),
  ];
}

/** On a machine that has time for it. */
export function timeGoals(outcome: Outcome): Row[] {
  return [recoveryGoal(outcome, "lock", RECOVERY_MS), recoveryGoal(outcome, "lease", outcome.leaseMs + RECOVERY_MS)];
}

function recoveryGoal({ recoveries }: Outcome, shownBy: ShownBy, limit: number): Row {
  const times = ascending(recoveries.filter((each) => each.shownBy === shownBy).map(({ ms }) => ms));
  const [p50, p95, max] = [0.5, 0.95, 1].map((share) => percentile(times, share));
  return {
    what: `recovery where the ${shownBy} shows it, p50 / p95 / max of ${times.length} runs`,
    wanted: `p95 <= ${limit} ms`,
    got: times.length === 0 ? "none" : `${[p50, p95, max].map((ms) => ms?.toFixed(0)).join(" / ")} ms`,
    isMet: times.length === 0 || p95! <= limit,
  };
}

export function counts({ journal, findings, faults, seconds, recoveries }: Outcome): Row[] {
  const told = (what: string, got: number): Row => ({ what, got: String(got), isMet: true });
  return [
    told("seconds", Math.round(seconds)),
    told("plans carried out", journal.finished),
    told("runs accepted", journal.accepted.length),
    told("POSTs refused", journal.refused),
    told("POSTs without a key that made two runs", findings.repeated.length),
    told(
      "faults",
      [...faults.values()].reduce((sum, n) => sum + n, 0),
    ),
    told("runs taken away from their process, and timed", recoveries.length),
    told("readers compared with the log", journal.readings.length),
    told("effects whose outcome is unknown", findings.ambiguous.length),
    told("  of runs that were cancelled", findings.ofCancelled.length),
    told("  answers of people about them", journal.decisions.length),
    told("    before the deadline", journal.decisions.filter(({ isEarly }) => isEarly).length),
  ];
}

const MAX_DETAILS = 12;

export function render(rows: readonly Row[]): string {
  const lines = table(
    ["what", "wanted", "got", ""],
    rows.map(({ what, wanted, got, isMet }) => [
      what,
      wanted ?? "",
      got,
      wanted === undefined ? "" : isMet ? "ok" : "MISSED",
    ]),
  );
  const details = rows
    .filter(({ isMet }) => !isMet)
    .map(({ what, details: found = [] }) =>
      [`\n${what}:`, ...found.slice(0, MAX_DETAILS).map((each) => `  ${each}`)].join("\n"),
    );
  return [lines, ...details].join("\n");
}
