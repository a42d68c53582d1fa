/**
 * The serialized form of LangGraph's own savers: what either writes, the other reads. Ours writes the same bytes faster
 * (dump.ts), and of what it reads it builds only what is known (revive.ts).
 */
import { MemorySaver, type SerializerProtocol } from "@langchain/langgraph-checkpoint";
import { PawlError } from "../lib/errors.ts";
import { dumpJson } from "./dump.ts";
import { revive } from "./revive.ts";

/** The library does not export its serializer; its savers have one. */
const stock: SerializerProtocol = new MemorySaver().serde;
const decoder = new TextDecoder();

export class Serializer implements SerializerProtocol {
  /** A type, `bytes` or `json`, and the bytes. */
  async dumpsTyped(value: unknown): Promise<[string, Uint8Array]> {
    if (value instanceof Uint8Array) return ["bytes", value];
    const text = dumpJson(value);
    return text === undefined ? stock.dumpsTyped(value) : ["json", Buffer.from(text)];
  }

  /** Throws `checkpoint_unreadable` for a type that it does not know, and for what is no JSON or too deep. */
  async loadsTyped(type: string, data: Uint8Array | string): Promise<unknown> {
    return load(type, data);
  }
}

/**
 * One element of an array: `[`, the texts of all joined by commas, and `]` is the text of the whole array. Undefined for
 * an element that has to be written together with its array, by `dumpsTyped`.
 */
export function dumpItem(item: unknown): string | undefined {
  return dumpJson(item);
}

/** The element that `dumpItem` wrote. */
export function loadItem(text: Uint8Array | string): unknown {
  return load("json", text);
}

function load(type: string, data: Uint8Array | string): unknown {
  if (type === "bytes") return typeof data === "string" ? Buffer.from(data) : data;
  if (type !== "json") throw new PawlError("checkpoint_unreadable", `A stored value has the unknown type ${type}`);
  return revive(parse(typeof data === "string" ? data : decoder.decode(data)));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new PawlError("checkpoint_unreadable", "A stored value is no JSON", { cause });
  }
}
