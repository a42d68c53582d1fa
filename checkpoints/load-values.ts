/** Values on their way from the tables: the counterpart of dump-values.ts. */
import type { SerializerProtocol } from "@langchain/langgraph-checkpoint";
import { type Chunk, textOf } from "./chunk.ts";
import { elementsOf } from "./list-elements.ts";
import { revive } from "./revive.ts";
import { loadItem } from "./serializer.ts";
import type { Value } from "./stored-values.ts";

/** Throws `checkpoint_unreadable` for what is no value. */
export async function loadValue(
  { type, data }: Pick<Value, "type" | "data">,
  serde: SerializerProtocol,
): Promise<unknown> {
  return data instanceof Uint8Array ? serde.loadsTyped(type, data) : loadChunks(data);
}

/** As the stock saver would have stored it. */
export function wholeOf(value: Value): { readonly type: string; readonly data: Uint8Array | string } {
  const { type, data } = value;
  return data instanceof Uint8Array ? { type, data } : { type: "json", data: textOf(data) };
}

/** Element by element, where there are any: to join the texts would take longer than to parse them. */
export function loadChunks(chunks: readonly Chunk[]): unknown {
  const elements = elementsOf(chunks);
  return elements ? revive(elements) : loadItem(textOf(chunks));
}
