/** What one lane of clients does next: decided by the seed alone. */
import { GRAPHS, type GraphId } from "./fleet.ts";
import type { Random } from "./random.ts";

const FOLLOWING = ["stream", "wait", "poll"] as const;
export type Following = (typeof FOLLOWING)[number];

export interface Plan {
  /** Also in the run's metadata and state. */
  readonly name: string;
  readonly graph: GraphId;
  /** Milliseconds that a step takes. */
  readonly ms: number;
  readonly following: Following;
  /** How the client makes its POST repeatable, if it does; such a one is sent twice at once. */
  readonly key: "none" | "Idempotency-Key" | "run_id";
  readonly cancel: { readonly afterMs: number; readonly action: "interrupt" | "rollback" } | undefined;
  /** A second message, sent while the first is being answered. */
  readonly doubleText: { readonly afterMs: number; readonly strategy: Strategy } | undefined;
  /** Each answer is sent by two clients at once. */
  readonly answersTwice: boolean;
  readonly person: Person;
}

/**
 * How a person answers who is asked about an effect of unknown outcome and looks at the other side. All say "happened" when
 * they see it there. If not, "patient" looks again after the deadline, "hasty" says at once that it did not happen,
 * "tired" leaves it alone.
 */
const PERSONS = ["patient", "hasty", "tired"] as const;
type Person = (typeof PERSONS)[number];

export type Strategy = "enqueue" | "interrupt" | "rollback" | "reject";

const KEYED = 0.3;
const CANCELLED = 0.12;
const DOUBLE_TEXTED = 0.15;
const ANSWERED_TWICE = 0.4;

/** Graphs that ask questions: a second message would take their place. */
const ASKING: ReadonlySet<GraphId> = new Set(["questions", "calls"]);

export function planOf(seed: Random, nth: number): Plan {
  const random = seed.fork(`plan ${nth}`);
  const graph = GRAPHS[nth % GRAPHS.length]!;
  const texts = !ASKING.has(graph) && random.chance(DOUBLE_TEXTED);
  return {
    name: `p${nth}`,
    graph,
    ms: random.between(5, 120),
    following: random.pick(FOLLOWING),
    key: random.chance(KEYED) ? random.pick(["Idempotency-Key", "run_id"] as const) : "none",
    cancel:
      !texts && random.chance(CANCELLED)
        ? { afterMs: random.between(0, 600), action: random.pick(["interrupt", "rollback"] as const) }
        : undefined,
    doubleText: texts
      ? {
          afterMs: random.between(0, 300),
          strategy: random.pick(["enqueue", "interrupt", "rollback", "reject"] as const),
        }
      : undefined,
    answersTwice: random.chance(ANSWERED_TWICE),
    person: random.pick(PERSONS),
  };
}

/** The entries that a run of a graph leaves when it takes each step once; of an effect or an answer without its outcome. */
export const STEPS: Readonly<Record<GraphId, readonly string[]>> = {
  steps: ["one", "two", "three", "four", "five", "six"],
  fan: ["split", "tool-0", "tool-1", "tool-2", "tool-3", "join"],
  nested: ["before", "inner-first", "inner-effect", "inner-last", "after"],
  effects: ["begin", "letter", "record", "payment", "end"],
  questions: ["begin", "first", "approved", "left", "right", "end"],
  calls: ["begin", "call-0", "call-1", "end"],
};
