/** What the figures on the saver have to reach. */
import type { Goal } from "./goals.ts";

interface Bound {
  readonly what: string;
  readonly got: number;
  readonly unit?: string;
}

export function atMost(most: number, { what, got, unit = "" }: Bound): Goal {
  return { what, wanted: `<= ${most}${unit}`, got: `${got.toFixed(2)}${unit}`, isMet: got <= most };
}

export function atLeast(least: number, { what, got, unit = "" }: Bound): Goal {
  return { what, wanted: `>= ${least}${unit}`, got: `${got.toFixed(2)}${unit}`, isMet: got >= least };
}
