/** From where in its thread a run starts: what decides whether a changed graph matters to it. */
import type { RunKwargs } from "../run.ts";

/**
 * Whether a run goes on from where its thread stands. One with a new input does not: that takes the place of what is
 * pending, so that people can go on whatever has changed.
 */
export function goesOn({ input, command, answers }: Pick<RunKwargs, "input" | "command" | "answers">): boolean {
  return answers !== undefined || command !== undefined || input === undefined || input === null;
}

/** The root checkpoint behind a run's start; undefined if a subgraph's is named and its root is not. */
export function rootOf(checkpoint: RunKwargs["checkpoint"]): { checkpoint_id?: string } | undefined {
  if (!checkpoint) return {};
  if (checkpoint.checkpoint_ns === "") return { checkpoint_id: checkpoint.checkpoint_id };
  const root = checkpoint.checkpoint_map?.[""];
  return typeof root === "string" ? { checkpoint_id: root } : undefined;
}
