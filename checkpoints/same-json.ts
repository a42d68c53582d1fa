/**
 * Whether `JSON.stringify` would write a value as it writes `json`, the result of a `JSON.parse`: the same text, the order
 * of keys included. False for what is not certain. Nothing in the value but dates has a `toJSON`. It takes a fraction of
 * what writing takes, since a string that has not changed is most often the very same one.
 */
export function isWrittenAs(value: unknown, json: unknown): boolean {
  if (typeof value === "string" || typeof value === "boolean") return value === json;
  // -0 is written as 0, and what is no number as null.
  if (typeof value === "number") return Number.isFinite(value) ? Object.is(value + 0, json) : json === null;
  if (typeof value !== "object") return false;
  if (value === null) return json === null;
  if (value instanceof Date) return value.toJSON() === json;
  if (typeof json !== "object" || json === null) return false;
  if (Array.isArray(value) !== Array.isArray(json)) return false;
  return Array.isArray(value)
    ? areSameItems(value, json as readonly unknown[])
    : areSameFields(value as Fields, json as Fields);
}

type Fields = Readonly<Record<string, unknown>>;

function areSameItems(items: readonly unknown[], json: readonly unknown[]): boolean {
  if (items.length !== json.length) return false;
  for (let i = 0; i < items.length; i += 1) if (!isWrittenAs(items[i], json[i])) return false;
  return true;
}

function areSameFields(fields: Fields, json: Fields): boolean {
  const keys = Object.keys(fields);
  const names = Object.keys(json);
  if (keys.length !== names.length) return false;
  for (const [i, key] of keys.entries()) {
    if (key !== names[i] || !isWrittenAs(fields[key], json[key])) return false;
  }
  return true;
}
