/** A finished answer in the two shapes of the Chat Completions API: one body, or a sequence of stream chunks. */

interface CompletionCall {
  readonly id: string;
  readonly name: string;
  /** JSON text, sent as it is. */
  readonly arguments: string;
}

export interface Completion {
  readonly id: string;
  readonly model: string;
  /** The text, token by token. */
  readonly tokens: readonly string[];
  readonly calls: readonly CompletionCall[];
  /** What the model thought before, as vLLM sends it. */
  readonly reasoning?: string;
  /** `null` is what a server that was interrupted sends. */
  readonly finishReason: string | null;
  readonly promptTokens: number;
}

/** Tokens of the simplest kind: words with the white space before them. */
export function tokenize(text: string): string[] {
  return text.match(/\s*\S+|\s+$/gu) ?? [];
}

/** The body of an answer that is not streamed. */
export function completionBody(completion: Completion): object {
  return {
    ...envelope(completion, "chat.completion"),
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          content: completion.tokens.length > 0 ? completion.tokens.join("") : null,
          ...(completion.reasoning !== undefined && { reasoning: completion.reasoning }),
          ...(completion.calls.length > 0 && { tool_calls: completion.calls.map(wireCall) }),
        },
        finish_reason: completion.finishReason,
      },
    ],
    usage: usageOf(completion),
  };
}

/** The chunks of a streamed answer, without the closing `[DONE]`. A call's arguments come in two parts, as from vLLM. */
export function* completionChunks(completion: Completion, includeUsage: boolean): Generator<object> {
  const chunk = (delta: object, finishReason: string | null = null): object => ({
    ...envelope(completion, "chat.completion.chunk"),
    choices: [{ index: 0, delta, finish_reason: finishReason }],
  });
  yield chunk({ role: "assistant", content: "" });
  if (completion.reasoning !== undefined) yield chunk({ reasoning: completion.reasoning });
  for (const token of completion.tokens) yield chunk({ content: token });
  for (const [index, call] of completion.calls.entries()) {
    const half = Math.ceil(call.arguments.length / 2);
    yield chunk({ tool_calls: [{ index, ...wireCall({ ...call, arguments: call.arguments.slice(0, half) }) }] });
    yield chunk({ tool_calls: [{ index, function: { arguments: call.arguments.slice(half) } }] });
  }
  if (completion.finishReason !== null) yield chunk({}, completion.finishReason);
  if (includeUsage) {
    yield { ...envelope(completion, "chat.completion.chunk"), choices: [], usage: usageOf(completion) };
  }
}

function envelope({ id, model }: Completion, object: string): object {
  return { id, object, created: Math.floor(Date.now() / 1_000), model };
}

function wireCall(call: CompletionCall): object {
  return { id: call.id, type: "function", function: { name: call.name, arguments: call.arguments } };
}

function usageOf({ tokens, calls, promptTokens }: Completion): object {
  const completionTokens =
    tokens.length + calls.reduce((sum, call) => sum + Math.ceil(call.arguments.length / 4) + 1, 0);
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}
