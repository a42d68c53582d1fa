/**
 * JSON Schemas of what a graph takes and gives, from the schemas that it has at run time. A graph that was declared
 * with types alone (`Annotation`) tells the names of its channels, and which of them holds messages. What cannot be
 * known is null: never an error, since Studio does not open a graph whose schemas fail.
 */
import { type BaseChannel, messagesStateReducer } from "@langchain/langgraph";
import {
  getConfigTypeSchema,
  getInputTypeSchema,
  getOutputTypeSchema,
  getStateTypeSchema,
} from "@langchain/langgraph/zod/schema";

type JsonSchema = Readonly<Record<string, unknown>>;

export interface GraphSchemas {
  readonly input_schema: JsonSchema | null;
  readonly output_schema: JsonSchema | null;
  readonly state_schema: JsonSchema | null;
  readonly config_schema: JsonSchema | null;
  readonly context_schema: JsonSchema | null;
}

/** What a `StateGraph` keeps of its declaration beside the schemas; internal to the library, so nothing is relied upon. */
interface Declared {
  readonly builder?: {
    readonly _schemaDefinition?: Readonly<Record<string, unknown>>;
    readonly _inputDefinition?: Readonly<Record<string, unknown>>;
    readonly _outputDefinition?: Readonly<Record<string, unknown>>;
  };
}

export function schemasOf(graph: unknown): GraphSchemas {
  const { builder } = graph as Declared;
  const config = orNull(() => getConfigTypeSchema(graph));
  return {
    input_schema: orNull(() => getInputTypeSchema(graph)) ?? channelsSchema(builder?._inputDefinition),
    output_schema: orNull(() => getOutputTypeSchema(graph)) ?? channelsSchema(builder?._outputDefinition),
    state_schema: orNull(() => getStateTypeSchema(graph)) ?? channelsSchema(builder?._schemaDefinition),
    config_schema: config,
    context_schema: config,
  };
}

/** A schema that JSON Schema cannot express (a date, a transform) makes the library throw. */
function orNull(schema: () => unknown): JsonSchema | null {
  try {
    return (schema() as JsonSchema | undefined) ?? null;
  } catch {
    return null;
  }
}

function channelsSchema(channels: Readonly<Record<string, unknown>> | undefined): JsonSchema | null {
  if (!channels) return null;
  const properties = Object.entries(channels).map(([name, declared]) => [
    name,
    holdsMessages(declared) ? { langgraph_type: "messages" } : {},
  ]);
  return { type: "object", properties: Object.fromEntries(properties) };
}

/** A channel is declared as itself or as a function that makes it. */
function holdsMessages(declared: unknown): boolean {
  const channel = typeof declared === "function" ? (declared as () => BaseChannel)() : declared;
  return (channel as { operator?: unknown } | null)?.operator === messagesStateReducer;
}
