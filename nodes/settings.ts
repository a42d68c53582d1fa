/** What a run may set about an agent, by `context` or, as older clients do, by `configurable`. */
import { z } from "zod";
import { PawlError } from "../lib/errors.ts";

/** Figures: docs/architecture.md, "loop limits". */
const DEFAULTS = { review_mode: "one_at_a_time", max_model_turns: 10 } as const;

/** All optional, and not by zod's `default`, after which the published schema calls them required. */
export const AgentSettings = z.object({
  review_mode: z.enum(["one_at_a_time", "all_at_once"]).optional().meta({
    default: DEFAULTS.review_mode,
    description: "Whether calls that need approval are asked for one after the other or together, by interrupt id",
  }),
  max_model_turns: z.number().int().min(1).max(25).optional().meta({
    default: DEFAULTS.max_model_turns,
    description: "Model calls for one message of the user; the last one has to answer without tools",
  }),
});

export interface Settings {
  readonly review_mode: "one_at_a_time" | "all_at_once";
  readonly max_model_turns: number;
}

/** Throws `invalid_input`. `context` wins over `configurable`. */
export function settingsOf(config: { readonly context?: unknown; readonly configurable?: unknown }): Settings {
  const parsed = AgentSettings.safeParse({ ...asObject(config.configurable), ...asObject(config.context) });
  if (!parsed.success) {
    throw new PawlError("invalid_input", `The agent's settings are not valid\n${z.prettifyError(parsed.error)}`);
  }
  const { review_mode = DEFAULTS.review_mode, max_model_turns = DEFAULTS.max_model_turns } = parsed.data;
  return { review_mode, max_model_turns };
}

function asObject(value: unknown): object {
  return typeof value === "object" && value !== null ? value : {};
}
