/**
 * From stored JSON to the values of a state, without waiting for anything. What is given stays as it is and shares no
 * object with what is made of it, so it may be kept for the next read.
 *
 * What is stored is data, whoever wrote it. The closed set of JavaScript types that the stock serializer writes comes
 * back, and the classes of stored-messages.ts; any other constructor record stays the plain data that it is. Secrets are
 * never looked up, nothing is imported, and no key changes a prototype.
 */
import { DeltaSnapshot } from "@langchain/langgraph-checkpoint";
import { PawlError } from "../lib/errors.ts";
import { builderOf } from "./stored-messages.ts";

/** More levels than this are refused: recursion must end before the stack does. */
export const MAX_DEPTH = 2_000;

type StoredRecord = Record<string, unknown>;

/** What surrounds a value. Inside the fields of an `lc` object user data that looks like one is marked as escaped. */
interface Place {
  readonly inFields: boolean;
  /** Inside such a mark nothing is built. */
  readonly isEscaped: boolean;
}

const OUTSIDE: Place = { inFields: false, isEscaped: false };
const FIELDS: Place = { inFields: true, isEscaped: false };
const ESCAPED: Place = { inFields: false, isEscaped: true };

/** Of the result of a `JSON.parse`. Throws `checkpoint_unreadable` for one that is too deep. */
export function revive(value: unknown): unknown {
  return reviveAt(value, OUTSIDE, 0);
}

function reviveAt(value: unknown, place: Place, depth: number): unknown {
  if (typeof value !== "object" || value === null) return value;
  refuseTooDeep(depth);
  if (Array.isArray(value)) {
    const items: unknown[] = [];
    for (const item of value) items.push(reviveAt(item, place, depth + 1));
    return items;
  }
  const record = value as StoredRecord;
  if (record["lc"] === 1 && record["type"] === "constructor" && !place.isEscaped) return reviveObject(record, depth);
  if (place.inFields && isEscapeMark(record)) return reviveAt(record["__lc_escaped__"], ESCAPED, depth + 1);
  const copy = { ...record };
  for (const key of Object.keys(copy)) {
    const item = copy[key];
    if (typeof item !== "object" || item === null) continue;
    // As an own key it is what assigning it elsewhere would make the prototype there.
    if (key === "__proto__") Reflect.deleteProperty(copy, key);
    else copy[key] = reviveAt(item, place, depth + 1);
  }
  return copy["lc"] === 2 ? reviveType(copy) : copy;
}

/** What is not built stays as it is, in a copy. */
function copyOf(value: unknown, depth: number): unknown {
  if (typeof value !== "object" || value === null) return value;
  refuseTooDeep(depth);
  const copies: [string, unknown][] = [];
  for (const [key, item] of Object.entries(value)) copies.push([key, copyOf(item, depth + 1)]);
  return Array.isArray(value) ? copies.map(([, item]) => item) : Object.fromEntries(copies);
}

function refuseTooDeep(depth: number): void {
  if (depth <= MAX_DEPTH) return;
  throw new PawlError("checkpoint_unreadable", `A stored value has more than ${MAX_DEPTH} levels`);
}

/** An object of an allowed class; for any other class, and where the class refuses, the record that it is. */
function reviveObject(record: StoredRecord, depth: number): unknown {
  const build = builderOf(record["id"]);
  const { kwargs } = record;
  if (!build || typeof kwargs !== "object" || kwargs === null || Array.isArray(kwargs)) return copyOf(record, depth);
  const fields: StoredRecord = {};
  for (const [key, item] of Object.entries(kwargs)) {
    // What every object inherits is no field of a message.
    if (!(key in Object.prototype)) fields[fieldOf(key)] = reviveAt(item, FIELDS, depth + 2);
  }
  try {
    return build(fields);
  } catch {
    return copyOf(record, depth);
  }
}

/** Fields that messages name in snake case themselves (`lc_aliases` of @langchain/core). */
const fieldNames = new Map(
  [
    "additional_kwargs",
    "response_metadata",
    "tool_calls",
    "invalid_tool_calls",
    "tool_call_chunks",
    "tool_call_id",
    "usage_metadata",
  ].map((name) => [name, name]),
);
const MAX_FIELD_NAMES = 1_000;

/** The inverse of what `toJSON` did to the name of a field; as `keyFromJson` of @langchain/core. */
function fieldOf(key: string): string {
  const known = fieldNames.get(key);
  if (known !== undefined) return known;
  const trimmed = key.trim();
  const name = /[-_\s]/.test(trimmed)
    ? trimmed
        .replace(/[-_\s]+/g, "_")
        .toLowerCase()
        .replace(/_+([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
    : trimmed;
  if (fieldNames.size < MAX_FIELD_NAMES) fieldNames.set(key, name);
  return name;
}

function isEscapeMark(record: StoredRecord): boolean {
  return Object.hasOwn(record, "__lc_escaped__") && Object.keys(record).length === 1;
}

/** The records of `lc` 2: JavaScript types, a closed set. What is not exactly one of them stays as it is. */
function reviveType(record: StoredRecord): unknown {
  if (record["type"] === "undefined") return undefined;
  if (record["type"] === "delta_snapshot" && Object.hasOwn(record, "value")) return new DeltaSnapshot(record["value"]);
  const { type, id, method, args } = record;
  if (type !== "constructor" || !Array.isArray(id) || id.length !== 1 || !Array.isArray(args)) return record;
  if (method !== undefined && method !== null && !(id[0] === "Uint8Array" && method === "from")) return record;
  const [first, second]: unknown[] = args;
  switch (id[0]) {
    case "Set":
      return args.length === 1 && Array.isArray(first) ? new Set(first) : record;
    case "Map":
      return args.length === 1 && isEntries(first) ? new Map(first) : record;
    case "Error":
      return args.length === 1 && typeof first === "string" ? new Error(first) : record;
    case "Uint8Array":
      return args.length === 1 && isBytes(first) ? new Uint8Array(first) : record;
    case "RegExp":
      return args.length === 2 && typeof first === "string" && typeof second === "string"
        ? (regExp(first, second) ?? record)
        : record;
    default:
      return record;
  }
}

function isEntries(value: unknown): value is [unknown, unknown][] {
  return Array.isArray(value) && value.every((entry) => Array.isArray(entry) && entry.length === 2);
}

function isBytes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isInteger(item) && item >= 0 && item <= 255);
}

function regExp(source: string, flags: string): RegExp | undefined {
  try {
    return new RegExp(source, flags);
  } catch {
    return undefined;
  }
}
