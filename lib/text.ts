/** Text that Postgres can keep: it refuses U+0000 in text and jsonb, and lone surrogates have no UTF-8. */

/** `text` without U+0000, and with U+FFFD for each lone surrogate. */
export function cleanText(text: string): string {
  return (text.includes("\0") ? text.replaceAll("\0", "") : text).toWellFormed();
}

/** The same for every string and key inside a JSON value. Returns the value itself when there was nothing to clean. */
export function cleanJson<T>(value: T): T {
  return needsCleaning(value) ? (clean(value) as T) : value;
}

function needsCleaning(value: unknown): boolean {
  if (typeof value === "string") return value.includes("\0") || !value.isWellFormed();
  if (value === null || typeof value !== "object") return false;
  if (Array.isArray(value)) return value.some(needsCleaning);
  return Object.entries(value).some(([key, item]) => needsCleaning(key) || needsCleaning(item));
}

function clean(value: unknown): unknown {
  if (typeof value === "string") return cleanText(value);
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(clean);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [cleanText(key), clean(item)]));
}
