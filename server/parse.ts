/** Unknown in, typed out; anything else is one `invalid_input`, wherever it came from (body, path, query). */
import type { Context } from "hono";
import { z } from "zod";
import { PawlError } from "../lib/errors.ts";
import { cleanJson } from "../lib/text.ts";

/** The value as `schema` reads it. Throws `invalid_input` with zod's issues, whose paths begin with `at`. */
export function parse<S extends z.ZodType>(schema: S, value: unknown, ...at: PropertyKey[]): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map(({ path, message }) => ({ path: [...at, ...path], message }));
  throw new PawlError("invalid_input", `The request is not valid: ${inWords(issues)}`, { facts: { issues } });
}

/** The parameter of the path with this name, which an error names too. As it came: an id is not cleaned into another. */
export function parseParam<S extends z.ZodType>(schema: S, c: Context, name: string): z.output<S> {
  return parse(schema, c.req.param(name), name);
}

/** The JSON body as `schema` reads it; a body that is absent reads as `{}`. */
export async function parseBody<S extends z.ZodType>(schema: S, c: Context): Promise<z.output<S>> {
  return parse(schema, (await readJson(c)) ?? {});
}

/** The query as `schema` reads it: a string for each name, or an array of strings where the name is repeated. */
export function parseQuery<S extends z.ZodType>(schema: S, c: Context): z.output<S> {
  const entries = Object.entries(c.req.queries()).map(([name, values]) => [
    name,
    values.length === 1 ? values[0] : values,
  ]);
  return parse(schema, cleanJson(Object.fromEntries(entries)));
}

/** What JSON of a client may nest: our own walks and Postgres's jsonb recurse, and neither may run out of stack. */
const MAX_DEPTH = 500;

/**
 * The JSON body, or undefined where there is none. LangGraph Studio sends JSON as text/plain, which the guard has let
 * through only from an allowed origin. Throws `invalid_json`, `unsupported_media_type`.
 */
export async function readJson(c: Context): Promise<unknown> {
  const text = await readText(c);
  if (text.trim() === "") return undefined;
  const type = c.req.header("content-type")?.split(";")[0]?.trim().toLowerCase();
  if (type && type !== "text/plain" && !/^application\/(?:[\w.-]+\+)?json$/.test(type)) {
    throw new PawlError("unsupported_media_type", `A body must be application/json, not ${type}`);
  }
  const value = parseJson(text);
  if (isDeeperThan(MAX_DEPTH, value)) {
    throw new PawlError("invalid_json", `The body nests deeper than ${MAX_DEPTH} levels`);
  }
  return cleanJson(value);
}

/** The body as it came, from Hono's cache: a middleware may have read or replaced it before. */
export async function readText(c: Context): Promise<string> {
  try {
    return await c.req.text();
  } catch (cause) {
    throw new PawlError("invalid_json", "The body could not be read to its end", { cause });
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new PawlError("invalid_json", "The body is not valid JSON", { cause });
  }
}

function isDeeperThan(levels: number, value: unknown): boolean {
  if (value === null || typeof value !== "object") return false;
  return levels === 0 || Object.values(value).some((item) => isDeeperThan(levels - 1, item));
}

/** `1`, `0`, `true`, `false`. Not `z.coerce.boolean()`, for which the string "0" is true. */
export const queryFlag = z.stringbool({ truthy: ["1", "true"], falsy: ["0", "false"] });

/** A number in a query. */
export const queryInt = z
  .string()
  .regex(/^-?\d{1,15}$/, "not a whole number")
  .transform(Number);

/** A list in a query: a JSON array (the SDK's way), a repeated name, separated by commas, or one plain value. */
export function queryList<S extends z.ZodType>(item: S) {
  return z.preprocess((value) => [value].flat().flatMap(unfold), z.array(item));
}

function unfold(value: unknown): unknown {
  if (typeof value !== "string") return value;
  if (!value.startsWith("[")) return value.split(",").filter((part) => part !== "");
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

function inWords(issues: { path: PropertyKey[]; message: string }[]): string {
  return issues.map(({ path, message }) => (path.length > 0 ? `${path.join(".")}: ${message}` : message)).join("; ");
}
