/** One chunk of a graph's stream as the events that clients asked for. */
import { isAIMessageChunk } from "@langchain/core/messages";
import type { QuestionTracker } from "../../checkpoints/question-tracker.ts";
import { toWire } from "../../lib/wire.ts";
import type { StreamMode } from "../run.ts";
import { isRecord, withoutInternals } from "./checkpoint-ref.ts";
import { checkpointPayload, debugChunk, taskPayload } from "./debug.ts";
import { withPublicInterrupts } from "./interrupts.ts";
import { isPiece, type LegacyMessages } from "./legacy-messages.ts";
import type { WireEvent } from "./stream-graph.ts";

/** A chunk of `graph.stream` with `subgraphs`: the namespace's segments, the library's mode, what it says. */
export type Chunk = readonly [namespace: readonly string[], mode: string, payload: unknown];

export interface Asked {
  readonly modes: ReadonlySet<StreamMode>;
  readonly tracker: QuestionTracker;
  readonly legacy: LegacyMessages;
}

export function* translate([namespace, mode, payload]: Chunk, { modes, tracker, legacy }: Asked): Generator<WireEvent> {
  const place = { ns: namespace.join("|"), tracker };
  const named = (event: string): string => [event, ...namespace].join("|");
  switch (mode) {
    case "messages":
      if (isHidden(payload)) return;
      if (modes.has("messages-tuple")) yield { event: named("messages"), data: messageTuple(payload) };
      if (modes.has("messages") && Array.isArray(payload)) yield* legacy.token(payload);
      return;
    case "values":
      if (modes.has("values"))
        yield { event: named("values"), data: toWire(withPublicInterrupts(payload, place.ns, tracker)) };
      if (modes.has("messages")) yield* legacy.state(payload);
      return;
    case "updates":
      if (modes.has("updates"))
        yield { event: named("updates"), data: toWire(withPublicInterrupts(payload, place.ns, tracker)) };
      return;
    case "debug":
    case "tasks":
    case "checkpoints":
      if (modes.has(mode) && isRecord(payload))
        yield { event: named(mode), data: toWire(shaped[mode](payload, place)) };
      return;
    case "custom":
    case "tools":
      if (modes.has(mode)) yield { event: named(mode), data: toWire(payload) ?? null };
      return;
    default:
      return; // the library may add modes that nobody asked for
  }
}

const shaped = { debug: debugChunk, tasks: taskPayload, checkpoints: checkpointPayload };

function isHidden(payload: unknown): boolean {
  const [, metadata] = Array.isArray(payload) ? (payload as unknown[]) : [];
  return isRecord(metadata) && Array.isArray(metadata["tags"]) && metadata["tags"].includes("langsmith:hidden");
}

function messageTuple(payload: unknown): unknown {
  if (!Array.isArray(payload)) return toWire(payload);
  const [message, metadata] = payload as unknown[];
  const data = toWire(message);
  // A piece of a message says so by its type: clients add pieces up and let whole messages replace each other.
  const isAiPiece = isPiece(message, metadata) && isAIMessageChunk(message);
  const piece = isAiPiece && isRecord(data) ? { ...data, type: "AIMessageChunk" } : data;
  return [piece, toWire(isRecord(metadata) ? withoutInternals(metadata) : metadata) ?? null];
}
