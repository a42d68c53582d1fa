/** Figures as text tables. */
import type { Goal } from "./goals.ts";

/** Columns as wide as they need; the first to the left, figures to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join("  ");
  return [line(head), widths.map((width) => "-".repeat(width)).join("  "), ...rows.map(line)].join("\n");
}

export function goalTable(goals: readonly Goal[]): string {
  return table(
    ["goal", "wanted", "got", ""],
    goals.map(({ what, wanted, got, isMet }) => [what, wanted, got, isMet ? "ok" : "MISSED"]),
  );
}

export const fixed = (value: number): string => value.toFixed(1);
