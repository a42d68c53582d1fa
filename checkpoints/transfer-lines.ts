/**
 * A thread as JSON lines, for other installations and for LangGraph's own saver: its row, then its checkpoints from the
 * oldest on, each after the values it is the first to have and before its pending writes. Values are in the form of the
 * stock serializer, whatever form they are stored in. The last line says that nothing is missing.
 */
import { z } from "zod";
import { PawlError } from "../lib/errors.ts";

const Json = z.record(z.string(), z.unknown());

const Versions = z.record(z.string(), z.union([z.string(), z.number()]));

/** Text of a `json` value; base64 of any other. */
const Stored = z.object({ type: z.string(), data: z.string() });

export const ThreadLine = z.object({
  kind: z.literal("thread"),
  format: z.literal(1),
  thread_id: z.string().min(1),
  /** Of Pawl's own row; absent for a thread of the stock saver. */
  row: z
    .object({
      graph_id: z.string().nullable(),
      metadata: Json,
      config: Json,
      status: z.enum(["idle", "interrupted", "error"]),
      values: z.unknown(),
      interrupts: Json,
    })
    .optional(),
});
const ValueLine = Stored.extend({
  kind: z.literal("value"),
  ns: z.string(),
  channel: z.string(),
  version: z.string(),
});
export const CheckpointLine = z.object({
  kind: z.literal("checkpoint"),
  ns: z.string(),
  id: z.string().min(1),
  parent: z.string().nullable(),
  checkpoint: z.looseObject({ channel_versions: Versions, versions_seen: z.record(z.string(), Versions).optional() }),
  metadata: Json,
});
export const WriteLine = Stored.extend({
  kind: z.literal("write"),
  ns: z.string(),
  checkpoint_id: z.string(),
  task_id: z.string(),
  idx: z.number().int(),
  channel: z.string(),
});
const EndLine = z.object({ kind: z.literal("end"), checkpoints: z.number().int() });

export type ThreadLine = z.infer<typeof ThreadLine>;
type ValueLine = z.infer<typeof ValueLine>;
export type CheckpointLine = z.infer<typeof CheckpointLine>;
export type WriteLine = z.infer<typeof WriteLine>;

const Line = z.discriminatedUnion("kind", [ThreadLine, ValueLine, CheckpointLine, WriteLine, EndLine]);
export type Line = z.infer<typeof Line>;

/** A checkpoint as a reader finds it. */
export interface TransferredCheckpoint extends Omit<CheckpointLine, "kind"> {
  readonly values: readonly { readonly channel: string; readonly type: string; readonly data: Uint8Array | string }[];
  readonly writes: readonly {
    readonly task_id: string;
    readonly idx: number;
    readonly channel: string;
    readonly type: string;
    readonly data: Uint8Array | string;
  }[];
}

/** `checkpoints`: oldest first. */
export async function* linesOf(
  thread: Omit<ThreadLine, "kind" | "format">,
  checkpoints: AsyncIterable<TransferredCheckpoint>,
): AsyncGenerator<Line> {
  yield { kind: "thread", format: 1, ...thread };
  const written = new Set<string>();
  let count = 0;
  for await (const { values, writes, ns, id, parent, checkpoint, metadata } of checkpoints) {
    for (const { channel, type, data } of values) {
      const version = String(checkpoint.channel_versions[channel]);
      const key = JSON.stringify([ns, channel, version]);
      if (written.has(key)) continue;
      written.add(key);
      yield { kind: "value", ns, channel, version, type, data: encode(type, data) };
    }
    yield { kind: "checkpoint", ns, id, parent, checkpoint, metadata };
    count += 1;
    for (const { task_id, idx, channel, type, data } of writes) {
      yield { kind: "write", ns, checkpoint_id: id, task_id, idx, channel, type, data: encode(type, data) };
    }
  }
  yield { kind: "end", checkpoints: count };
}

/** Throws `invalid_input` for a line that is not of this form. */
export function parseLine(text: string): Line {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new PawlError("invalid_input", "A line of the export is no JSON", { cause });
  }
  const parsed = Line.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new PawlError("invalid_input", `A line of the export is not valid: ${z.prettifyError(parsed.error)}`);
}

export function bytesOf({ type, data }: { readonly type: string; readonly data: string }): Buffer {
  return Buffer.from(data, type === "json" ? "utf8" : "base64");
}

function encode(type: string, data: Uint8Array | string): string {
  return typeof data === "string" ? data : Buffer.from(data).toString(type === "json" ? "utf8" : "base64");
}

/** Where an import goes, inside one transaction. */
export interface TransferTarget {
  value(line: ValueLine): Promise<void>;
  checkpoint(line: CheckpointLine): Promise<void>;
  write(line: WriteLine): Promise<void>;
}

/** Hands over what comes after the thread's own line. Throws `invalid_input` for an export that is not whole. */
export async function transfer(lines: AsyncIterable<string>, target: TransferTarget): Promise<number> {
  let count = 0;
  let isWhole = false;
  for await (const text of lines) {
    if (isWhole) throw new PawlError("invalid_input", "The export goes on after its end");
    const line = parseLine(text);
    switch (line.kind) {
      case "thread":
        throw new PawlError("invalid_input", "The export has more than one thread");
      case "value":
        await target.value(line);
        break;
      case "checkpoint":
        await target.checkpoint(line);
        count += 1;
        break;
      case "write":
        await target.write(line);
        break;
      case "end":
        isWhole = line.checkpoints === count;
    }
  }
  if (!isWhole) throw new PawlError("invalid_input", "The export is not whole: its end is missing");
  return count;
}
