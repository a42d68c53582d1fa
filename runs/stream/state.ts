/** The state of a thread at a checkpoint, as clients see it. */
import type { StateSnapshot } from "@langchain/langgraph";
import type { PendingQuestion } from "../../checkpoints/questions.ts";
import { toWire } from "../../lib/wire.ts";
import { checkpointRef, type CheckpointRef, isRecord, withoutInternals } from "./checkpoint-ref.ts";
import { type Interrupt, interruptOf } from "./interrupts.ts";

export interface ThreadState {
  readonly values: unknown;
  /** Nodes that would execute next; empty when the graph is done. */
  readonly next: readonly string[];
  readonly tasks: readonly ThreadTask[];
  readonly metadata: Record<string, unknown> | null;
  readonly created_at: string | null;
  readonly checkpoint: CheckpointRef | null;
  readonly parent_checkpoint: CheckpointRef | null;
  readonly interrupts: readonly Interrupt[];
}

interface ThreadTask {
  readonly id: string;
  readonly name: string;
  readonly path: unknown;
  readonly error: string | null;
  readonly interrupts: readonly Interrupt[];
  /** Where the task's subgraph is, unless `state` says it. */
  readonly checkpoint: CheckpointRef | null;
  /** The subgraph's own state, if it was asked for. */
  readonly state: ThreadState | null;
  readonly result: unknown;
}

/**
 * `questions` are those that are open at the snapshot's checkpoint: the snapshot's own interrupts are not shown, since
 * they hold answered ones and lack some of subgraphs.
 */
export function threadState(snapshot: StateSnapshot, questions: readonly PendingQuestion[]): ThreadState {
  const tasks = snapshot.tasks.map((task): ThreadTask => {
    const nested = task.state && "values" in task.state ? task.state : undefined;
    const below = questions.filter(({ path }) => path.includes(task.id));
    return {
      id: task.id,
      name: task.name,
      path: toWire(task.path ?? []),
      error: errorText(task.error),
      interrupts: below.map(interruptOf),
      checkpoint: nested ? null : checkpointRef(task.state as Parameters<typeof checkpointRef>[0]),
      state: nested ? threadState(nested, below) : null,
      result: toWire(task.result) ?? null,
    };
  });
  // The library's own list leaves out a task that has got an answer and asks again.
  const waiting = tasks.filter(({ name, interrupts }) => interrupts.length > 0 && !snapshot.next.includes(name));
  return {
    values: toWire(snapshot.values),
    next: [...snapshot.next, ...waiting.map(({ name }) => name)],
    tasks,
    metadata: snapshot.metadata ? wireMetadata(snapshot.metadata) : null,
    created_at: snapshot.createdAt ?? null,
    checkpoint: checkpointRef(snapshot.config),
    parent_checkpoint: checkpointRef(snapshot.parentConfig),
    interrupts: tasks.flatMap((task) => task.interrupts),
  };
}

function wireMetadata(metadata: object): Record<string, unknown> {
  const { checkpoint_ns, ...rest } = withoutInternals({ ...metadata });
  // The library adds the namespace; of the outermost graph it says nothing.
  return toWire(checkpoint_ns ? { ...rest, checkpoint_ns } : rest) as Record<string, unknown>;
}

/** An error from storage is `{name, message}`, from a running graph an Error. */
function errorText(error: unknown): string | null {
  if (error === undefined || error === null) return null;
  const { message } = isRecord(error) ? error : { message: error };
  return toWire(String(message)) as string;
}
