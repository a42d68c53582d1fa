/** What a tool returned, as it goes to the model and into the database: JSON, plain text, of bounded size. */
import { headAndTail, plainText } from "./sandbox/output.ts";
import type { ToolErrorCode } from "./tool.ts";

export type ToolOutcome =
  | { readonly status: "ok"; readonly result: unknown }
  | { readonly status: "error"; readonly code: ToolErrorCode; readonly message: string };

const maxResultBytes = 100_000;
const maxMessageBytes = 2_000;

/** A result that is too large keeps its beginning and its end, as text: half of an object is no object. */
export function succeeded(result: unknown): ToolOutcome {
  const json = JSON.stringify(plain(result)) ?? "null";
  if (Buffer.byteLength(json) <= maxResultBytes) return { status: "ok", result: JSON.parse(json) as unknown };
  const text = typeof result === "string" ? plainText(result) : json;
  return { status: "ok", result: { truncated: true, text: headAndTail(text, maxResultBytes) } };
}

export function failed(code: ToolErrorCode, message: string): ToolOutcome {
  return { status: "error", code, message: headAndTail(plainText(message), maxMessageBytes) };
}

function plain(value: unknown): unknown {
  if (typeof value === "string") return plainText(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object" || "toJSON" in value) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [plainText(key), plain(item)]));
}
