/** What an assistant is: a graph with a configuration of its own, in numbered versions. */
import { z } from "zod";
import { AssistantId } from "../../lib/ids.ts";

const Json = z.record(z.string(), z.unknown());

/** An assistant as clients see it: its latest version. */
export const Assistant = z.object({
  assistant_id: AssistantId,
  graph_id: z.string(),
  name: z.string(),
  description: z.string().nullable(),
  config: Json,
  context: Json,
  metadata: Json,
  version: z.number().int(),
  created_at: z.date(),
  updated_at: z.date(),
});
export type Assistant = z.infer<typeof Assistant>;

/** A version never changes, so it has no `updated_at`. */
export const AssistantVersion = Assistant.omit({ updated_at: true });
export type AssistantVersion = z.infer<typeof AssistantVersion>;

/** The body that creates one; unknown keys are ignored. */
export const AssistantCreate = z.object({
  assistant_id: AssistantId.nullish(),
  graph_id: z.string().min(1),
  name: z.string().nullish(),
  description: z.string().nullish(),
  config: Json.nullish(),
  context: Json.nullish(),
  metadata: Json.nullish(),
  if_exists: z.enum(["raise", "do_nothing"]).nullish(),
});
export type AssistantCreate = z.infer<typeof AssistantCreate>;

/** What a new version changes. `metadata` is merged key by key, everything else is replaced. */
export const AssistantPatch = AssistantCreate.omit({ assistant_id: true, if_exists: true }).partial();
export type AssistantPatch = z.infer<typeof AssistantPatch>;

export const assistantFields = Object.keys(Assistant.shape) as (keyof Assistant)[];

/** The columns of `Assistant`, for a select list. */
export const assistantColumns = assistantFields.join(", ");
export const versionColumns = Object.keys(AssistantVersion.shape).join(", ");
