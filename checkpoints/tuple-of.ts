import {
  type BaseCheckpointSaver,
  type Checkpoint,
  type CheckpointMetadata,
  type CheckpointTuple,
  maxChannelVersion,
  TASKS,
} from "@langchain/langgraph-checkpoint";
import { loadValue } from "./load-values.ts";
import type { StoredTuple } from "./read-tuples.ts";
import type { Value } from "./stored-values.ts";

/** A stored checkpoint as the library knows it, its values deserialized. */
export async function tupleOf(
  stored: Omit<StoredTuple, "seq" | "canBuildOn">,
  { serde, getNextVersion }: Pick<BaseCheckpointSaver, "serde" | "getNextVersion">,
): Promise<CheckpointTuple> {
  const { thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id } = stored;
  const at = (id: string) => ({ configurable: { thread_id, checkpoint_ns, checkpoint_id: id } });
  const revive = (value: Value): Promise<unknown> => loadValue(value, serde);
  const checkpoint: Checkpoint = {
    ...stored.checkpoint,
    channel_values: Object.fromEntries(
      await Promise.all(stored.values.map(async (value) => [value.channel, await revive(value)] as const)),
    ),
  };
  if (stored.sent.length > 0) {
    checkpoint.channel_values[TASKS] = await Promise.all(stored.sent.map(revive));
    const versions = Object.values(checkpoint.channel_versions);
    checkpoint.channel_versions[TASKS] =
      versions.length > 0 ? maxChannelVersion(...versions) : getNextVersion(undefined);
  }
  return {
    config: at(checkpoint_id),
    checkpoint,
    metadata: stored.metadata as unknown as CheckpointMetadata,
    ...(parent_checkpoint_id && { parentConfig: at(parent_checkpoint_id) }),
    pendingWrites: await Promise.all(
      stored.writes.map(async (write): Promise<[string, string, unknown]> => [
        write.task_id,
        write.channel,
        await revive(write),
      ]),
    ),
  };
}
