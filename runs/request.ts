/** From what a client asked for to what its run will do: defaults filled in, configuration merged. */
import { PawlError } from "../lib/errors.ts";
import type { RunCreate, RunKwargs } from "./run.ts";

type Json = Record<string, unknown>;
interface Configured {
  readonly config: Json;
}

/** Keys of `configurable` that say where a run is, not how: never taken from a stored configuration. */
const placeKeys = new Set(["thread_id", "run_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map"]);

interface KwargsSources {
  readonly body: RunCreate;
  readonly assistant: Configured & { readonly assistant_id: string; readonly graph_id: string; readonly context: Json };
  readonly thread: Configured;
  readonly ids: { readonly run_id: string; readonly thread_id: string; readonly user_id: string | null };
}

/** The run's kwargs. Later sources win: assistant, thread, request, and last the ids, which nobody may set. */
export function kwargsOf({ body, assistant, thread, ids }: KwargsSources): RunKwargs {
  const { input, command, config, interrupt_before, interrupt_after } = body;
  const context = { ...assistant.context, ...body.context };
  const checkpoint = checkpointOf(body);
  const limit = config?.recursion_limit ?? numberOf(assistant.config["recursion_limit"]);
  const tags = [...stringsOf(assistant.config["tags"]), ...(config?.tags ?? [])];
  return {
    ...(input !== undefined && { input }),
    ...(command && { command }),
    config: {
      configurable: {
        ...mergedConfigurable(assistant, thread, config?.configurable),
        run_id: ids.run_id,
        thread_id: ids.thread_id,
        graph_id: assistant.graph_id,
        assistant_id: assistant.assistant_id,
        ...(ids.user_id !== null && { user_id: ids.user_id }),
      },
      ...(limit !== undefined && { recursion_limit: limit }),
      ...(tags.length > 0 && { tags }),
    },
    ...(Object.keys(context).length > 0 && { context }),
    stream_mode: [body.stream_mode ?? "values"].flat(),
    stream_subgraphs: body.stream_subgraphs ?? false,
    ...(interrupt_before && { interrupt_before }),
    ...(interrupt_after && { interrupt_after }),
    durability: body.durability ?? durabilityOf(body.checkpoint_during),
    ...(checkpoint && { checkpoint }),
  };
}

/** What a thread keeps of the configurations of its runs, so that its graph can be rebuilt to read its state. */
export function mergedConfigurable(assistant: Configured, thread: Configured, asked: Json | undefined): Json {
  return Object.fromEntries(
    [assistant.config["configurable"], thread.config["configurable"], asked]
      .flatMap((source) => Object.entries((source as Json | undefined) ?? {}))
      // `__*` keys steer the library and the host: no client may set one.
      .filter(([key]) => !key.startsWith("__") && !placeKeys.has(key)),
  );
}

/** The checkpoint to start from: named by itself, by its id, or in the configuration. Throws `invalid_input`. */
export function checkpointOf(body: RunCreate): RunKwargs["checkpoint"] {
  const { checkpoint_id, checkpoint_ns, checkpoint_map } = { ...body.config?.configurable, ...body.checkpoint } as Json;
  const id = body.checkpoint_id ?? checkpoint_id;
  if (id === undefined || id === null) return undefined;
  if (typeof id !== "string") throw new PawlError("invalid_input", "checkpoint_id must be a string");
  return {
    checkpoint_id: id,
    checkpoint_ns: typeof checkpoint_ns === "string" ? checkpoint_ns : "",
    ...(isObject(checkpoint_map) && { checkpoint_map }),
  };
}

/** `checkpoint_during` is deprecated: true was `async`, false `exit`. */
function durabilityOf(checkpointDuring: boolean | null | undefined): RunKwargs["durability"] {
  if (checkpointDuring === undefined || checkpointDuring === null) return "sync";
  return checkpointDuring ? "async" : "exit";
}

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const numberOf = (value: unknown): number | undefined => (typeof value === "number" ? value : undefined);
const stringsOf = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((v) => typeof v === "string") : [];
