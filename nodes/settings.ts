/** What a run may set about an agent, by `context` or, as older clients do, by `configurable`. */
import { z } from "zod";
import { PawlError } from "../lib/errors.ts";
import { type Isolation, isolations } from "../lib/isolation.ts";

/** Figures: docs/architecture.md, "loop limits". */
const DEFAULTS = { review_mode: "one_at_a_time", max_model_turns: 10 } as const;

const ceiling = z.number().int().min(1).optional();
/** Narrows what the tools may do; what is wider than their own policy is ignored. */
const Sandbox = z.strictObject({
  minimum: z.enum(isolations).optional().meta({ description: "The weakest isolation in which code may run" }),
  wall_ms: ceiling.meta({ description: "Milliseconds for one program" }),
  mem_mb: ceiling.meta({ description: "Memory of one program" }),
  workspace_mb: ceiling.meta({ description: "All files of the thread together" }),
  files: ceiling.meta({ description: "How many files the thread may have" }),
});

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
  sandbox: Sandbox.optional().meta({ description: "Limits for code and files, below those of the tools" }),
});

export interface Settings {
  readonly review_mode: "one_at_a_time" | "all_at_once";
  readonly max_model_turns: number;
  readonly sandbox: {
    readonly minimum?: Isolation | undefined;
    readonly wallMs?: number | undefined;
    readonly memMb?: number | undefined;
    readonly workspaceMb?: number | undefined;
    readonly files?: number | undefined;
  };
}

/** Throws `invalid_input`. `context` wins over `configurable`. */
export function settingsOf(config: { readonly context?: unknown; readonly configurable?: unknown }): Settings {
  const parsed = AgentSettings.safeParse({ ...asObject(config.configurable), ...asObject(config.context) });
  if (!parsed.success) {
    throw new PawlError("invalid_input", `The agent's settings are not valid\n${z.prettifyError(parsed.error)}`);
  }
  const { review_mode = DEFAULTS.review_mode, max_model_turns = DEFAULTS.max_model_turns, sandbox } = parsed.data;
  const { minimum, wall_ms, mem_mb, workspace_mb, files } = sandbox ?? {};
  return {
    review_mode,
    max_model_turns,
    sandbox: { minimum, wallMs: wall_ms, memMb: mem_mb, workspaceMb: workspace_mb, files },
  };
}

function asObject(value: unknown): object {
  return typeof value === "object" && value !== null ? value : {};
}
