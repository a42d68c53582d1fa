/**
 * The boundary to the model: every call of a chat model goes through `callModel`. Inside a node it streams by itself
 * when the graph is streamed in mode `messages`.
 */
import type { AIMessage, BaseMessage } from "@langchain/core/messages";
import type { BindToolsInput } from "@langchain/core/language_models/chat_models";
import type { RunnableConfig } from "@langchain/core/runnables";
import { config as processConfig } from "../lib/config.ts";
import { settle } from "./answer.ts";
import { ModelClient } from "./client.ts";
import { modelEndpoint, type ModelEndpoint } from "./endpoint.ts";
import { outgoing } from "./outgoing.ts";

/** Tokens of an answer unless the caller says otherwise. */
const DEFAULT_MAX_TOKENS = 1_000;

export interface ModelCall {
  readonly tools?: readonly BindToolsInput[];
  /** The name of a tool forces that one. Default: `auto`. Without tools it is not sent. */
  readonly toolChoice?: "auto" | "none" | "required" | (string & {});
  readonly maxTokens?: number;
  readonly temperature?: number;
  /** Aborting it aborts the HTTP request; the signal's reason is thrown. */
  readonly signal?: AbortSignal;
  /** The node's config, for tracing and streaming where the async context does not carry it. */
  readonly config?: RunnableConfig;
  /** Default: the configured one. */
  readonly endpoint?: ModelEndpoint;
  /** Milliseconds of silence after which an attempt ends. Default: MODEL_TIMEOUT_MS. */
  readonly timeoutMs?: number;
}

/**
 * One answer of the model, complete: with a fresh id, a `finish_reason` in `response_metadata`, text that Postgres can
 * keep, and only tool calls whose arguments are JSON objects; the others are in `invalid_tool_calls`, for the caller to
 * answer. Throws `model_unavailable` (try later) or `model_error`; `facts.reason` names the class of failure.
 */
export async function callModel(messages: readonly BaseMessage[], call: ModelCall = {}): Promise<AIMessage> {
  const endpoint = call.endpoint ?? (await modelEndpoint());
  const { maxTokens = DEFAULT_MAX_TOKENS, temperature, timeoutMs = processConfig().model.timeoutMs } = call;
  const client = new ModelClient({ endpoint, timeoutMs, maxTokens, temperature });
  const signals = [call.signal, call.config?.signal].filter((signal) => signal !== undefined);
  const signal = AbortSignal.any(signals);
  signal.throwIfAborted();
  try {
    const answer = await client.invoke(outgoing(messages), {
      ...call.config,
      ...(signals.length > 0 && { signal }),
      ...toolOptions(call),
    });
    return settle(answer, client.ingest);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

/** Sorted by name: the same tools then make the same prefix, which the server's cache needs. */
function toolOptions({ tools = [], toolChoice = "auto" }: ModelCall) {
  if (tools.length === 0) return {};
  return { tools: tools.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1)), tool_choice: toolChoice };
}

function nameOf(tool: BindToolsInput): string {
  const named = tool as { name?: string; function?: { name?: string } };
  return named.name ?? named.function?.name ?? "";
}
