/**
 * Mode `messages` of older clients (Studio is one): `messages/metadata` once per streamed message, `messages/partial`
 * with the message so far for each token, `messages/complete` for messages that have come into the state.
 */
import { type BaseMessageChunk, isBaseMessage, isBaseMessageChunk } from "@langchain/core/messages";
import { toWire } from "../../lib/wire.ts";
import { isRecord, withoutInternals } from "./checkpoint-ref.ts";
import type { WireEvent } from "./stream-graph.ts";

export class LegacyMessages {
  readonly #partial = new Map<string, BaseMessageChunk>();
  readonly #complete = new Set<string>();

  /** A chunk of the library's mode `messages`. */
  *token([message, metadata]: readonly unknown[]): Generator<WireEvent> {
    if (!isRecord(metadata) || !isPiece(message, metadata) || !message.id) return;
    const { id } = message;
    const before = this.#partial.get(id);
    if (!before) {
      yield { event: "messages/metadata", data: { [id]: { metadata: toWire(withoutInternals(metadata)) } } };
    }
    const soFar = before ? before.concat(message) : message;
    this.#partial.set(id, soFar);
    yield { event: "messages/partial", data: [toWire(soFar)] };
  }

  /** A chunk of mode `values`. */
  *state(values: unknown): Generator<WireEvent> {
    if (!isRecord(values) || isBaseMessage(values)) return;
    const fresh = [values["messages"]]
      .flat()
      .filter(isMessageWithId)
      .filter(({ id }) => !this.#complete.has(id));
    if (fresh.length === 0) return;
    for (const { id } of fresh) {
      this.#complete.add(id);
      this.#partial.delete(id);
    }
    yield { event: "messages/complete", data: toWire(fresh) };
  }
}

/** Whether a model streams this. A node's result may be a message chunk, too, but is a whole message. */
export function isPiece(message: unknown, metadata: unknown): message is BaseMessageChunk {
  const isFromModel = isRecord(metadata) && metadata["ls_model_type"] === "chat";
  return isFromModel && isBaseMessage(message) && isBaseMessageChunk(message);
}

function isMessageWithId(message: unknown): message is { id: string } {
  return isRecord(message) && typeof message["id"] === "string";
}
