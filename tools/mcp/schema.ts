/**
 * A tool's JSON schema, which a stranger wrote. The model sees it as it is. Here only its outline is checked, and no
 * pattern of it is ever run: a regular expression can be made to take for ever, and a validator is code generated from
 * it. The server checks its input itself.
 */
import { z } from "zod";

const Outline = z.object({
  type: z.literal("object"),
  properties: z.record(z.string(), z.unknown()).default({}),
  required: z.array(z.string()).default([]),
});

/** Undefined for what is not the schema of an object. */
export function inputOf(schema: unknown): z.ZodType | undefined {
  const outline = Outline.safeParse(schema);
  if (!outline.success) return undefined;
  const { properties, required } = outline.data;
  if (required.some((name) => !Object.hasOwn(properties, name))) return undefined;
  const shape = Object.fromEntries(
    Object.entries(properties).map(([name, property]) => {
      const type = typeOf(property);
      return [name, required.includes(name) ? type : type.optional()];
    }),
  );
  const { $schema: _, ...shown } = schema as Record<string, unknown>;
  return z.looseObject(shape).meta(shown);
}

const types: Readonly<Record<string, () => z.ZodType>> = {
  string: () => z.string(),
  number: () => z.number(),
  integer: () => z.int(),
  boolean: () => z.boolean(),
  array: () => z.array(z.unknown()),
  object: () => z.looseObject({}),
  null: () => z.null(),
};

function typeOf(property: unknown): z.ZodType {
  const type = z.object({ type: z.string() }).safeParse(property).data?.type;
  return (type !== undefined && Object.hasOwn(types, type) ? types[type]?.() : undefined) ?? z.unknown();
}
