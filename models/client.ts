/**
 * LangChain's client for the Chat Completions API with its one HTTP call replaced: retries by class, time-outs, clean
 * text and fresh ids happen below LangChain, so that streamed chunks, stream events and the final message agree.
 *
 * Nothing is retried once a token was handed on: the reader would get the text twice. Such a call ends in `model_error`.
 */
import { ChatOpenAICompletions, type OpenAIClient } from "@langchain/openai";
import type { ModelEndpoint } from "./endpoint.ts";
import { asModelError, classify } from "./failure.ts";
import { type Body, type Chunk, Ingest } from "./ingest.ts";
import { withRetries } from "./retry.ts";
import { Silence } from "./silence.ts";

type StreamRequest = OpenAIClient.Chat.ChatCompletionCreateParamsStreaming;
type BodyRequest = OpenAIClient.Chat.ChatCompletionCreateParamsNonStreaming;
type RequestOptions = Parameters<ChatOpenAICompletions["completionWithRetry"]>[1];

interface ClientOptions {
  readonly endpoint: ModelEndpoint;
  /** Milliseconds: for an answer that comes at once, or between two chunks of one that is streamed. */
  readonly timeoutMs: number;
  readonly maxTokens: number;
  readonly temperature?: number | undefined;
}

/** One call takes at most so many time-outs, with all its attempts and waits. */
const DEADLINE_IN_TIMEOUTS = 4;

/** Serves one call, then is thrown away: `ingest` is the state of that call. */
export class ModelClient extends ChatOpenAICompletions {
  ingest = new Ingest([]);
  readonly #timeoutMs: number;

  constructor({ endpoint, timeoutMs, maxTokens, temperature }: ClientOptions) {
    super({
      model: endpoint.name,
      apiKey: endpoint.apiKey,
      configuration: { baseURL: endpoint.baseUrl },
      maxTokens,
      // Never `streaming: true`: LangChain then fetches a tokenizer from a third party for each `invoke`.
      streamUsage: true,
      maxRetries: 0,
      timeout: timeoutMs,
      ...(temperature !== undefined && { temperature }),
    });
    this.#timeoutMs = timeoutMs;
  }

  override completionWithRetry(request: StreamRequest, options?: RequestOptions): Promise<AsyncIterable<Chunk>>;
  override completionWithRetry(request: BodyRequest, options?: RequestOptions): Promise<Body>;
  override completionWithRetry(
    request: StreamRequest | BodyRequest,
    options?: RequestOptions,
  ): Promise<AsyncIterable<Chunk> | Body> {
    const signal = options?.signal ?? undefined;
    const deadline = Date.now() + DEADLINE_IN_TIMEOUTS * this.#timeoutMs;
    return withRetries<AsyncIterable<Chunk> | Body>({ deadline, signal }, async (attempt) => {
      this.ingest = new Ingest(request.messages);
      const silence = new Silence({ timeoutMs: this.#timeoutMs, deadline, signal });
      if (!request.stream) return this.#body(request, options, silence);
      const chunks = this.#chunks(request, options, silence);
      const head = await untilShown(chunks);
      return handOn(head, chunks, { attempt, signal });
    });
  }

  async #body(request: BodyRequest, options: RequestOptions, silence: Silence): Promise<Body> {
    const body = await silence.next(() => super.completionWithRetry(request, { ...options, signal: silence.signal }));
    const clean = this.ingest.body(body);
    this.#mustHaveFinished();
    return clean;
  }

  async *#chunks(request: StreamRequest, options: RequestOptions, silence: Silence): AsyncGenerator<Chunk> {
    const stream = await silence.next(() => super.completionWithRetry(request, { ...options, signal: silence.signal }));
    const source = stream[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await silence.next(() => source.next());
        if (next.done) break;
        yield this.ingest.chunk(next.value);
      }
    } finally {
      await source.return?.();
    }
    this.#mustHaveFinished();
  }

  #mustHaveFinished(): void {
    if (this.ingest.finishReason === undefined) throw new Error("The answer ended without a finish reason");
  }
}

/** The chunks up to the first one that shows something: until then the attempt can fail and be repeated unseen. */
async function untilShown(chunks: AsyncGenerator<Chunk>): Promise<Chunk[]> {
  const head: Chunk[] = [];
  for (;;) {
    const next = await chunks.next();
    if (next.done) return head;
    head.push(next.value);
    if (shows(next.value)) return head;
  }
}

/** Whether a reader sees something of this chunk, or the answer is complete. */
function shows({ choices: [choice] }: Chunk): boolean {
  if (!choice) return false;
  return Boolean(choice.delta.content || choice.delta.tool_calls?.length || choice.finish_reason);
}

/** The chunks held back, then the others. From here on a failure is final. */
async function* handOn(
  head: readonly Chunk[],
  rest: AsyncGenerator<Chunk>,
  { attempt, signal }: { attempt: number; signal: AbortSignal | undefined },
): AsyncGenerator<Chunk> {
  try {
    yield* head;
    yield* rest;
  } catch (error) {
    signal?.throwIfAborted();
    throw asModelError(classify(error), attempt);
  } finally {
    await rest.return(undefined);
  }
}
