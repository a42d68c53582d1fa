/** Where a checkpoint is, in the four fields by which clients name it. Configs carry more, and some of it is internal. */
export interface CheckpointRef {
  readonly thread_id: string;
  readonly checkpoint_ns: string;
  readonly checkpoint_id: string | null;
  readonly checkpoint_map: Record<string, unknown> | null;
}

interface Configured {
  readonly configurable?: Record<string, unknown> | undefined;
}

/** Null for a config that names no checkpoint. */
export function checkpointRef(config: Configured | undefined): CheckpointRef | null {
  const { thread_id, checkpoint_ns, checkpoint_id, checkpoint_map } = config?.configurable ?? {};
  if (typeof thread_id !== "string") return null;
  return {
    thread_id,
    checkpoint_ns: typeof checkpoint_ns === "string" ? checkpoint_ns : "",
    checkpoint_id: typeof checkpoint_id === "string" ? checkpoint_id : null,
    checkpoint_map: isRecord(checkpoint_map) ? checkpoint_map : null,
  };
}

/** Without the keys that begin with `__`: those are the library's and ours, and hold savers and tokens. */
export function withoutInternals(record: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).filter(([key]) => !key.startsWith("__")));
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
