/**
 * Makes what a model server sends safe to keep, before anybody sees it: the streamed chunks and the final message get
 * the same ids and the same clean text.
 *
 * The message's id is always ours: LangGraph replaces a message by one with an equal id, so a server with a constant id
 * deletes history. A tool call keeps its id unless the history or this answer has it already: the tool would be skipped.
 */
import { randomBytes } from "node:crypto";
import type { OpenAIClient } from "@langchain/openai";
import { uuidv7 } from "../lib/ids.ts";
import { cleanText } from "../lib/text.ts";
import { parseCall, type RawCall } from "./tool-call.ts";

export type Chunk = OpenAIClient.Chat.Completions.ChatCompletionChunk;
export type Body = OpenAIClient.Chat.Completions.ChatCompletion;
type Message = OpenAIClient.Chat.Completions.ChatCompletionMessageParam;
type Delta = Chunk["choices"][number]["delta"];
type CallDelta = NonNullable<Delta["tool_calls"]>[number];

/** A call that may still grow, with its place in the answer. */
interface OpenCall extends RawCall {
  readonly providerId: string | undefined;
  readonly index: number;
}

/** One answer on its way in: what has arrived of it so far. */
export class Ingest {
  readonly id = uuidv7();
  readonly calls: RawCall[] = [];
  text = "";
  reasoning = "";
  /** The id that the server chose, to find the call in its logs. */
  providerId: string | undefined;
  finishReason: string | undefined;
  readonly #takenIds: Set<string>;
  readonly #callAt = new Map<number, OpenCall>();
  #heldSurrogate = "";

  constructor(history: readonly Message[]) {
    this.#takenIds = new Set(
      history
        .flatMap((message) => (message.role === "assistant" ? (message.tool_calls ?? []) : []))
        .map(({ id }) => id),
    );
  }

  /** An answer that came at once. */
  body(body: Body): Body {
    this.providerId = body.id;
    const choices = body.choices.slice(0, 1).map((choice) => {
      this.finishReason = choice.finish_reason ?? undefined;
      // LangChain writes a misleading warning to the console when no call is valid, so it gets the valid ones only.
      const calls = choice.message.tool_calls?.flatMap((call, index) => {
        const raw = this.#call({ index, ...call });
        return parseCall(raw).type === "tool_call" ? [{ ...call, id: raw.id }] : [];
      });
      const message = { ...this.#reasoned(choice.message), content: this.#said(choice.message.content ?? "") };
      return { ...choice, message: { ...message, ...(calls && { tool_calls: calls }) } };
    });
    return { ...body, id: this.id, choices };
  }

  /** One chunk of a streamed answer. Servers leave out what the types promise, in the last chunks above all. */
  chunk(chunk: Chunk): Chunk {
    this.providerId ??= chunk.id;
    const choices = (chunk.choices ?? []).slice(0, 1).map((choice) => {
      const delta: Delta = choice.delta ?? {};
      this.finishReason ??= choice.finish_reason ?? undefined;
      const calls = delta.tool_calls?.map((call) => this.#callDelta(call));
      const content = this.#said(this.#joined(delta.content ?? "", !choice.finish_reason));
      const { tool_calls: _, ...rest } = this.#reasoned(delta);
      // Some servers name the role in no chunk, and LangChain then takes the text for another speaker's.
      return {
        ...choice,
        delta: { ...rest, role: "assistant" as const, content, ...(calls && { tool_calls: calls }) },
      };
    });
    return { ...chunk, id: this.id, choices };
  }

  #said(text: string): string {
    const clean = cleanText(text);
    this.text += clean;
    return clean;
  }

  /** A pair of surrogates may be split over two chunks: half of one at the end waits for the next chunk. */
  #joined(text: string, moreToCome: boolean): string {
    const joined = this.#heldSurrogate + text;
    const hold = moreToCome && /[\uD800-\uDBFF]$/.test(joined);
    this.#heldSurrogate = hold ? joined.slice(-1) : "";
    return hold ? joined.slice(0, -1) : joined;
  }

  /** vLLM calls it `reasoning` since 0.11; LangChain reads `reasoning_content` only. */
  #reasoned<T extends object>(message: T): T {
    const { reasoning, reasoning_content: text = reasoning, ...rest } = message as Record<string, unknown>;
    if (typeof text !== "string") return rest as T;
    const clean = cleanText(text);
    this.reasoning += clean;
    return { ...rest, reasoning_content: clean } as unknown as T;
  }

  /** The id and the name go out once, in the call's first chunk; servers that repeat them would break the merge. */
  #callDelta(delta: CallDelta): CallDelta {
    const before = this.calls.length;
    const { id, name, index } = this.#call(delta);
    const { id: _, function: fn, ...rest } = delta;
    const args = fn?.arguments ?? "";
    if (this.calls.length === before) return { ...rest, index, function: { arguments: args } };
    return { ...rest, index, id, function: { name, arguments: args } };
  }

  /** A new id at an old index begins a new call: some servers send every call with index 0, each in one piece. */
  #call({ index, id: providerId, function: fn }: CallDelta): OpenCall {
    let call = this.#callAt.get(index);
    if (!call || (providerId && providerId !== call.providerId)) {
      const id = this.#freeId(providerId);
      call = { id, providerId, index: this.calls.length, name: fn?.name ?? "", args: "" };
      this.#callAt.set(index, call);
      this.calls.push(call);
    }
    call.args += fn?.arguments ?? "";
    return call;
  }

  #freeId(wanted: string | undefined): string {
    const id = wanted && !this.#takenIds.has(wanted) ? cleanText(wanted) : freshCallId();
    this.#takenIds.add(id);
    return id;
  }
}

/** Nine letters and digits: the only form that the chat templates of Mistral accept, and good everywhere else. */
function freshCallId(): string {
  return randomBytes(16).toString("base64url").replaceAll(/[-_]/g, "").slice(0, 9).padEnd(9, "0");
}
