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

  /** A chunk of the library's mode `messages`. Only what a model streams has partial forms. */
  *token([message, metadata]: readonly unknown[]): Generator<WireEvent> {
    if (!isBaseMessage(message) || !isBaseMessageChunk(message) || !message.id) return;
    const { id } = message;
    const before = this.#partial.get(id);
    if (!before) {
      const known = isRecord(metadata) ? withoutInternals(metadata) : {};
      yield { event: "messages/metadata", data: { [id]: { metadata: toWire(known) } } };
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

function isMessageWithId(message: unknown): message is { id: string } {
  return isRecord(message) && typeof message["id"] === "string";
}
