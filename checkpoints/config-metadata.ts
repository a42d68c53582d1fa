import type { RunnableConfig } from "@langchain/core/runnables";

/** Where the run stands, which the checkpoint's own row says already, or says better. */
const POSITION = new Set(["checkpoint_id", "checkpoint_ns", "checkpoint_map", "task_id"]);

/** What of a config's metadata is kept with a checkpoint; never a `__*` key, since those are ours and the library's. */
export function metadataOf({ metadata = {} }: RunnableConfig): Record<string, unknown> {
  return Object.fromEntries(Object.entries(metadata).filter(([key]) => !key.startsWith("__") && !POSITION.has(key)));
}
