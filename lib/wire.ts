/**
 * Values as they go over the wire. LangChain objects (anything with `toDict()`) become `{...data, type}` at any depth,
 * as LangGraph's servers write them; by shape, since there may be several copies of the library.
 */
import { cleanText } from "./text.ts";

/** A plain JSON value. What is not JSON is left out or written as text, and a cycle as `"[circular]"`. */
export function toWire(value: unknown): unknown {
  return plain(value, []);
}

/** How an error looks to clients; its stack stays here. */
function errorToWire(error: Error): { error: string; message: string } {
  return { error: cleanText(error.name), message: cleanText(error.message) };
}

function plain(value: unknown, above: readonly object[]): unknown {
  if (value === null || typeof value === "boolean") return value;
  if (typeof value === "string") return cleanText(value);
  if (typeof value === "number") return Number.isFinite(value) ? value : null;
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object") return undefined;
  return above.includes(value) ? "[circular]" : plainObject(value, [...above, value]);
}

function plainObject(value: object, above: readonly object[]): unknown {
  if (Array.isArray(value)) return value.map((item) => plain(item, above) ?? null);
  if (value instanceof Error) return errorToWire(value);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (value instanceof Map) return record(value, above);
  if (value instanceof Set) return plain([...value], above);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (isDictable(value)) {
    const { type, data } = value.toDict();
    return { ...record(Object.entries(data), above), type };
  }
  if ("toJSON" in value && typeof value.toJSON === "function") return plain(value.toJSON(), above);
  return record(Object.entries(value), above);
}

function record(entries: Iterable<[unknown, unknown]>, above: readonly object[]): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const [key, item] of entries) {
    const value = plain(item, above);
    // `__proto__` as a key would set the prototype, not a property.
    if (value !== undefined) Object.defineProperty(result, cleanText(String(key)), { value, ...PROPERTY });
  }
  return result;
}

const PROPERTY = { enumerable: true, writable: true, configurable: true };

function isDictable(value: object): value is { toDict(): { type: string; data: object } } {
  return "toDict" in value && typeof value.toDict === "function";
}
