/** What the figures have to reach. Ratios to the floor where there is one: the machine decides the rest. */
import { type Load, percentile, perSecond } from "./load.ts";

export const GRAPHS = ["two", "ten"] as const;
export type GraphId = (typeof GRAPHS)[number];

export interface Goal {
  readonly what: string;
  readonly wanted: string;
  readonly got: string;
  readonly isMet: boolean;
}

/** Milliseconds that one run may take more than the graph itself. */
const MAX_ADDED_MS = 8;
const MAX_FIRST_EVENT_MS = 15;
const MIN_PER_SECOND: Record<GraphId, number> = { two: 150, ten: 50 };
const MIN_SHARE_OF_FLOOR = 0.5;
const MAX_GROWTH = 0.1;

/** One run at a time: what the server adds to it. */
export function latencyGoal(graph: GraphId, floor: Load, pawl: Load): Goal {
  const added = percentile(pawl.times, 0.5) - percentile(floor.times, 0.5);
  return {
    what: `${graph}: p50 of one run, above the floor's`,
    wanted: `<= ${MAX_ADDED_MS} ms`,
    got: `${added.toFixed(1)} ms`,
    isMet: added <= MAX_ADDED_MS,
  };
}

/** Many at a time. */
export function throughputGoals(graph: GraphId, floor: Load, pawl: Load): Goal[] {
  const rate = perSecond(pawl);
  const share = rate / perSecond(floor);
  return [
    {
      what: `${graph}: runs/s, many at a time`,
      wanted: `>= ${MIN_PER_SECOND[graph]}`,
      got: rate.toFixed(0),
      isMet: rate >= MIN_PER_SECOND[graph],
    },
    {
      what: `${graph}: share of the floor's runs/s`,
      wanted: `>= ${MIN_SHARE_OF_FLOOR}`,
      got: share.toFixed(2),
      isMet: share >= MIN_SHARE_OF_FLOOR,
    },
  ];
}

export function firstEventGoal(graph: GraphId, p50: number): Goal {
  return {
    what: `${graph}: first event of a stream, p50`,
    wanted: `<= ${MAX_FIRST_EVENT_MS} ms`,
    got: `${p50.toFixed(1)} ms`,
    isMet: p50 <= MAX_FIRST_EVENT_MS,
  };
}

export function memoryGoal({ from, to, growth }: { from: number; to: number; growth: number }): Goal {
  return {
    what: `growth of resident memory from run ${from} to run ${to}`,
    wanted: `<= ${MAX_GROWTH * 100} %`,
    got: `${(growth * 100).toFixed(1)} %`,
    isMet: growth <= MAX_GROWTH,
  };
}
