/** Digests of JSON values, for what is bound to exact arguments: approvals, effect keys, repeated calls. */
import { createHash } from "node:crypto";

/** SHA-256 in hex over the canonical form of `value` (RFC 8785: sorted keys, no white space). */
export function jsonDigest(value: unknown): string {
  return createHash("sha256").update(canonicalJson(value)).digest("hex");
}

/** Equal text for equal JSON values, whatever the order of their keys. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) =>
    isPlainObject(item) ? Object.fromEntries(Object.entries(item).sort(byKey)) : item,
  );
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** By UTF-16 code units, as RFC 8785 asks. */
function byKey([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : 1;
}
