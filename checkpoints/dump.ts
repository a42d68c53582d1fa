/**
 * From the values of a state to the JSON that the stock serializer writes, byte for byte, in a fraction of its time.
 *
 * The stock one walks a value twice, calls a function for each node from within `JSON.stringify`, and has each message
 * copy itself three times over. Here a value that is plain already goes to `JSON.stringify` as it is, and only what is
 * not is replaced on the way. What this file does not know for certain (a `toJSON` of somebody's own, a cycle, a bigint)
 * it does not write at all: `dumpJson` returns undefined, and the stock serializer writes the value.
 */
import { types } from "node:util";
import { Serializable } from "@langchain/core/load/serializable";
import { DeltaSnapshot } from "@langchain/langgraph-checkpoint";
import { isWrittenAs } from "./same-json.ts";
import { messagePrototypes } from "./stored-messages.ts";

/** Deeper than this lies a cycle, or what is as rare. */
const MAX_DEPTH = 500;
const UNDEFINED = { lc: 2, type: "undefined" } as const;
/** Thrown to leave a value to the stock serializer. */
const NOT_KNOWN = new Error("left to the stock serializer");
/** LangGraph's own classes, whose `toJSON` returns nothing but their fields. */
const NAMED = new Set(["Send", "Command", "Overwrite"]);

type Fields = Record<string, unknown>;

/** JSON text; undefined for what has to be left to the stock serializer. */
export function dumpJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(plain(value, 0));
  } catch {
    // Too deep for `JSON.stringify`, or NOT_KNOWN: the stock serializer decides what becomes of it.
    return undefined;
  }
}

/** Whether `dumpJson` would make of `value` the text that `json` was parsed from; false where that is not certain. */
export function isDumpedAs(value: unknown, json: unknown): boolean {
  try {
    return isWrittenAs(plain(value, 0), json);
  } catch {
    return false; // as above: whoever dumps it finds out
  }
}

/** What `JSON.stringify` has to be given: `value` itself where nothing in it needs replacing. */
function plain(value: unknown, depth: number): unknown {
  if (value === undefined) return UNDEFINED;
  if (typeof value === "bigint" || typeof value === "function") throw NOT_KNOWN;
  if (typeof value !== "object" || value === null) return value;
  if (depth > MAX_DEPTH) throw NOT_KNOWN;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (Array.isArray(value)) return plainItems(value, depth, plain);
  if (prototype === Object.prototype || prototype === null) return plainFields(value as Fields, depth, plain);
  if (isMessage(value, prototype)) return plainMessage(value, depth);
  return plainObject(value, depth);
}

function plainItems(items: readonly unknown[], depth: number, each: typeof plain): readonly unknown[] {
  if (Object.getPrototypeOf(items) !== Array.prototype || "toJSON" in items) throw NOT_KNOWN;
  let copy: unknown[] | undefined;
  for (let index = 0; index < items.length; index++) {
    const item = items[index];
    const made = each(item, depth + 1);
    if (copy) copy.push(made);
    else if (made !== item) copy = [...items.slice(0, index), made];
  }
  return copy ?? items;
}

function plainFields(object: Fields, depth: number, each: typeof plain): Fields {
  if (typeof object["toJSON"] === "function") throw NOT_KNOWN;
  const source = object["lg_name"] === "Send" ? sendFields(object) : object;
  let copy: Fields | undefined = source === object ? undefined : source;
  for (const key of Object.keys(source)) {
    const item = source[key];
    const made = each(item, depth + 1);
    if (made === item) continue;
    if (key === "__proto__") throw NOT_KNOWN;
    // Assigned in place, so that a copy keeps the order of its keys.
    (copy ??= { ...source })[key] = made;
  }
  return copy ?? object;
}

/** Of a `Send` the stock serializer keeps only these. */
function sendFields({ node, args, timeout }: Fields): Fields {
  return { node, args, ...(timeout !== undefined && { timeout }) };
}

/** Instances of classes. Those with a `toJSON` of their own may hide a cycle or a value to be replaced. */
function plainObject(value: object, depth: number): unknown {
  const fields = value as Fields;
  if (value instanceof Date && value.toJSON === Date.prototype.toJSON) return value;
  if (typeof fields["toJSON"] === "function") {
    if (typeof fields["lg_name"] !== "string" || !NAMED.has(fields["lg_name"])) throw NOT_KNOWN;
    return plain((value as { toJSON(): unknown }).toJSON(), depth + 1);
  }
  if (value instanceof DeltaSnapshot) return { lc: 2, type: "delta_snapshot", value: plain(value.value, depth + 1) };
  if (value instanceof Set || value instanceof Map) {
    return constructorRecord(value.constructor.name, [plainItems([...value], depth, plain)]);
  }
  if (value instanceof RegExp) return constructorRecord("RegExp", [value.source, value.flags]);
  if (value instanceof Error) return constructorRecord("Error", [value.message]);
  if (value instanceof Uint8Array) return constructorRecord("Uint8Array", [Array.from(value)], "from");
  if (isBoxed(value)) throw NOT_KNOWN;
  return plainFields(fields, depth, plain);
}

function constructorRecord(name: string, args: readonly unknown[], method: string | null = null) {
  return { lc: 2, type: "constructor", id: [name], method, args, kwargs: {} };
}

function isBoxed(value: object): boolean {
  return types.isBoxedPrimitive(value) || ArrayBuffer.isView(value);
}

function isMessage(value: object, prototype: unknown): value is Serializable {
  return typeof prototype === "object" && prototype !== null && messagePrototypes.has(prototype);
}

/** What `Serializable.toJSON` returns for a message, which has neither secrets nor attributes. */
function plainMessage(message: Serializable, depth: number): unknown {
  if (message.toJSON !== Serializable.prototype.toJSON || !message.lc_serializable) throw NOT_KNOWN;
  const stored: Fields = message.lc_kwargs;
  if (Object.getPrototypeOf(stored) !== Object.prototype) throw NOT_KNOWN;
  const live = message as unknown as Fields;
  const kwargs: Fields = {};
  for (const key of Object.keys(stored)) {
    kwargs[storedName(key)] = plainField(key in live ? live[key] : stored[key], depth + 2);
  }
  const name = messagePrototypes.get(Object.getPrototypeOf(message) as object);
  return { lc: 1, type: "constructor", id: [...message.lc_namespace, name], kwargs };
}

/** A value among the fields of a message. User data that looks like an `lc` object is marked, as core's `toJSON` does. */
function plainField(value: unknown, depth: number): unknown {
  if (typeof value !== "object" || value === null) return plain(value, depth);
  if (depth > MAX_DEPTH) throw NOT_KNOWN;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (Array.isArray(value)) return plainItems(value, depth, plainField);
  if (prototype === Object.prototype || prototype === null) {
    const object = value as Fields;
    if ("lc" in object || isEscapeMark(object)) return { __lc_escaped__: plain(object, depth + 1) };
    return plainFields(object, depth, plainField);
  }
  if (isMessage(value, prototype)) return plainMessage(value, depth);
  // Core makes bare objects of Map, Date and the like.
  throw NOT_KNOWN;
}

function isEscapeMark(object: Fields): boolean {
  return "__lc_escaped__" in object && Object.keys(object).length === 1;
}

/** Has core say under which name it stores a field. */
class Probe extends Serializable {
  override lc_namespace = ["pawl"];
  override lc_serializable = true;
}

const storedNames = new Map<string, string>();
const MAX_NAMES = 1_000;

function storedName(key: string): string {
  const known = storedNames.get(key);
  if (known !== undefined) return known;
  // Core looks such a name up in an object that inherits them.
  if (key in Object.prototype) throw NOT_KNOWN;
  const json = new Probe({ [key]: null }).toJSON();
  const [name] = "kwargs" in json ? Object.keys(json.kwargs) : [];
  if (name === undefined) throw NOT_KNOWN;
  if (storedNames.size < MAX_NAMES) storedNames.set(key, name);
  return name;
}
