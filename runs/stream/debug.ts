/**
 * The chunks of modes `debug`, `tasks` and `checkpoints` as LangGraph's servers send them: configs become four-field
 * checkpoint objects, names are snake_case, and nothing internal is left in a config.
 */
import type { QuestionTracker } from "../../checkpoints/question-tracker.ts";
import { checkpointRef, isRecord, withoutInternals } from "./checkpoint-ref.ts";
import { publicInterrupts } from "./interrupts.ts";

interface Place {
  readonly ns: string;
  readonly tracker: QuestionTracker;
}

export function debugChunk(chunk: Record<string, unknown>, place: Place): Record<string, unknown> {
  const { type, payload } = chunk;
  if (!isRecord(payload)) return chunk;
  return { ...chunk, payload: type === "checkpoint" ? checkpointPayload(payload, place) : taskPayload(payload, place) };
}

/** A checkpoint: `values`, `next`, `tasks` and where it is. Older clients read the full form, newer ones a part of it. */
export function checkpointPayload(payload: Record<string, unknown>, place: Place): Record<string, unknown> {
  const { config, parentConfig, metadata, tasks, ...rest } = payload;
  return {
    ...rest,
    metadata: isRecord(metadata) ? withoutInternals(metadata) : metadata,
    tasks: Array.isArray(tasks) ? tasks.map((task) => (isRecord(task) ? taskPayload(task, place) : task)) : tasks,
    checkpoint: checkpointRef(isRecord(config) ? config : undefined),
    parent_checkpoint: checkpointRef(isRecord(parentConfig) ? parentConfig : undefined),
    config: publicConfig(config),
    parent_config: publicConfig(parentConfig),
  };
}

/** A task that starts, has ended, or waits in a checkpoint; the config of its subgraph becomes `checkpoint`. */
export function taskPayload(task: Record<string, unknown>, { ns, tracker }: Place): Record<string, unknown> {
  const { state, interrupts, metadata, ...rest } = task;
  const checkpoint = isRecord(state) && "configurable" in state ? checkpointRef(state) : null;
  return {
    ...rest,
    ...(isRecord(metadata) && { metadata: withoutInternals(metadata) }),
    ...(interrupts !== undefined && { interrupts: publicInterrupts(interrupts, ns, tracker) }),
    ...(checkpoint && { checkpoint }),
  };
}

/** Callbacks are of no use to anyone outside, and hold whatever a tracer holds. */
function publicConfig(config: unknown): unknown {
  if (!isRecord(config)) return config;
  const { callbacks: _, configurable, metadata, ...rest } = config;
  return {
    ...rest,
    ...(isRecord(configurable) && { configurable: withoutInternals(configurable) }),
    ...(isRecord(metadata) && { metadata: withoutInternals(metadata) }),
  };
}
