/** What a run is: one definition, from which the type, the API shape and the row check all follow. */
import { z } from "zod";
import { AssistantId, RunId, ThreadId } from "../lib/ids.ts";

export const RunStatus = z.enum(["pending", "running", "success", "error", "timeout", "interrupted"]);
export type RunStatus = z.infer<typeof RunStatus>;

const MultitaskStrategy = z.enum(["reject", "enqueue", "interrupt", "rollback"]);
type MultitaskStrategy = z.infer<typeof MultitaskStrategy>;

/** `interrupt` keeps what the run has done; `rollback` deletes the run and its checkpoints. */
export const CancelAction = z.enum(["interrupt", "rollback"]);
export type CancelAction = z.infer<typeof CancelAction>;

export const StreamMode = z.enum([
  "values",
  "updates",
  "messages",
  "messages-tuple",
  "custom",
  "events",
  "debug",
  "tasks",
  "checkpoints",
  "tools",
]);
export type StreamMode = z.infer<typeof StreamMode>;

const Json = z.record(z.string(), z.unknown());
const Nodes = z.union([z.literal("*"), z.array(z.string())]);

/** The configuration of a run as clients send it; unknown keys are ignored. */
const RunConfig = z.object({
  tags: z.array(z.string()).optional(),
  recursion_limit: z.number().int().min(1).max(10_000).optional(),
  configurable: Json.optional(),
});
type RunConfig = z.infer<typeof RunConfig>;

const Goto = z.union([z.string(), z.object({ node: z.string(), input: z.unknown().optional() })]);

export const RunCommand = z.object({
  resume: z.unknown().optional(),
  update: z.union([Json, z.array(z.tuple([z.string(), z.unknown()]))]).nullish(),
  goto: z.union([Goto, z.array(Goto)]).nullish(),
});
export type RunCommand = z.infer<typeof RunCommand>;

export const CheckpointRef = z.object({
  checkpoint_id: z.string().nullish(),
  checkpoint_ns: z.string().nullish(),
  checkpoint_map: Json.nullish(),
});

/** The body of every call that creates a run; unknown keys are ignored. */
export const RunCreate = z.object({
  assistant_id: z.string().min(1),
  run_id: RunId.optional(),
  input: z.unknown().optional(),
  command: RunCommand.nullish(),
  config: RunConfig.nullish(),
  context: Json.nullish(),
  metadata: Json.nullish(),
  checkpoint: CheckpointRef.nullish(),
  checkpoint_id: z.string().nullish(),
  stream_mode: z.union([StreamMode, z.array(StreamMode)]).nullish(),
  stream_subgraphs: z.boolean().nullish(),
  stream_resumable: z.boolean().nullish(),
  interrupt_before: Nodes.nullish(),
  interrupt_after: Nodes.nullish(),
  multitask_strategy: MultitaskStrategy.nullish(),
  on_completion: z.enum(["delete", "keep"]).nullish(),
  on_disconnect: z.enum(["cancel", "continue"]).nullish(),
  after_seconds: z.number().min(0).max(31_536_000).nullish(),
  if_not_exists: z.enum(["create", "reject"]).nullish(),
  checkpoint_during: z.boolean().nullish(),
  durability: z.enum(["sync", "async", "exit"]).nullish(),
});
export type RunCreate = z.infer<typeof RunCreate>;

/** What a run was asked to do, as kept in its row and shown to clients. */
export const RunKwargs = z.object({
  input: z.unknown().optional(),
  command: RunCommand.optional(),
  /** For a resume: which question each answer is for, by the library's id and its place in its task. */
  answers: z
    .array(
      z.object({
        interrupt_id: z.string(),
        task_interrupt_id: z.string(),
        ordinal: z.number().int(),
        value: z.unknown(),
      }),
    )
    .optional(),
  config: z.object({
    tags: z.array(z.string()).optional(),
    recursion_limit: z.number().optional(),
    configurable: Json,
  }),
  context: Json.optional(),
  stream_mode: z.array(StreamMode),
  stream_subgraphs: z.boolean(),
  interrupt_before: Nodes.optional(),
  interrupt_after: Nodes.optional(),
  durability: z.enum(["sync", "async", "exit"]),
  /** The checkpoint to start from; absent for the thread's newest. */
  checkpoint: z
    .object({ checkpoint_id: z.string(), checkpoint_ns: z.string(), checkpoint_map: Json.optional() })
    .optional(),
});
export type RunKwargs = z.infer<typeof RunKwargs>;

export const RunError = z.object({ error: z.string(), message: z.string() });
export type RunError = z.infer<typeof RunError>;

/** A run as clients see it. */
export const Run = z.object({
  run_id: RunId,
  thread_id: ThreadId,
  assistant_id: AssistantId,
  status: RunStatus,
  metadata: Json,
  kwargs: RunKwargs,
  multitask_strategy: MultitaskStrategy,
  attempt: z.number().int(),
  created_at: z.date(),
  updated_at: z.date(),
});
export type Run = z.infer<typeof Run>;

/** A run in a list: `unreadable` says why one has no `kwargs`. */
export const ListedRun = Run.partial({ kwargs: true }).extend({ unreadable: RunError.optional() });
export type ListedRun = z.infer<typeof ListedRun>;

/** The columns of `Run`, for a select list. */
export const runColumns =
  "run_id, thread_id, assistant_id, status, metadata, kwargs, multitask_strategy, attempt, created_at, updated_at";
