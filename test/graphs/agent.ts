/** An agent for tests: the real graph and nodes, tools of the test, a scripted model over HTTP, threads in memory. */
import { randomUUID } from "node:crypto";
import { AIMessage, type BaseMessage, ToolMessage } from "@langchain/core/messages";
import { Command, MemorySaver } from "@langchain/langgraph";
import { afterAll, beforeAll } from "vitest";
import { z } from "zod";
import { reactAgent } from "../../graphs/react.ts";
import { defineTool, type Tool, ToolFailure } from "../../tools/index.ts";
import { type ScriptedModel, scriptedModel } from "../support/scripted-model.ts";

/** One model for the file: a process reads its configuration once. Disposal fails on any invalid or unscripted call. */
export function modelOfThisFile(): { readonly current: ScriptedModel } {
  const holder: { current: ScriptedModel } = { current: undefined as never };
  beforeAll(async () => {
    holder.current = await scriptedModel();
    process.env["MODEL_BASE_URL"] = holder.current.url;
    process.env["MODEL_NAME"] = "scripted";
  });
  afterAll(() => holder.current[Symbol.asyncDispose]());
  return holder;
}

/** A payment that a person has to approve, a sum that nobody has to, and tools that fail. `paid` is what was done. */
export function toolbox() {
  const paid: { to: string; cents: number }[] = [];
  const pay = defineTool({
    name: "pay",
    description: "Pays somebody.",
    input: z.strictObject({ to: z.string(), cents: z.number().int().positive() }),
    effect: "irreversible",
    needsApproval: true,
    run: (payment) => Promise.resolve({ receipt: paid.push(payment) }),
  });
  const add = defineTool({
    name: "add",
    description: "Adds two numbers.",
    input: z.strictObject({ a: z.number(), b: z.number() }),
    effect: "none",
    run: ({ a, b }) => Promise.resolve(a + b),
  });
  const fail = defineTool({
    name: "fail",
    description: "Fails, as foreseen or not.",
    input: z.strictObject({ foreseen: z.boolean() }),
    effect: "none",
    run: ({ foreseen }) =>
      Promise.reject(foreseen ? new ToolFailure("FAILED", "The shop is closed") : new Error("secret /etc/path")),
  });
  const tools: Tool[] = [pay, add, fail];
  return { paid, tools };
}

type Agent = ReturnType<typeof reactAgent>;

/** A conversation with the agent on one thread. */
export class Conversation {
  readonly id = randomUUID();
  readonly #agent: Agent;
  readonly #config: Record<string, unknown>;

  constructor(tools: readonly Tool[], settings: Record<string, unknown> = {}) {
    this.#agent = reactAgent(tools);
    this.#config = { thread_id: this.id, __pregel_checkpointer: new MemorySaver(), ...settings };
  }

  get config() {
    return { configurable: this.#config, durability: "sync" as const };
  }

  get agent(): Agent {
    return this.#agent;
  }

  async say(text: string): Promise<BaseMessage[]> {
    return (await this.#agent.invoke({ messages: [{ role: "user", content: text }] }, this.config)).messages;
  }

  /** With the answer to the one open question, or a map of answers by interrupt id. */
  async answer(resume: unknown, options: { recursionLimit?: number } = {}): Promise<BaseMessage[]> {
    return (await this.#agent.invoke(new Command({ resume }), { ...this.config, ...options })).messages;
  }

  async questions() {
    const { tasks } = await this.#agent.getState(this.config);
    return tasks.flatMap((task) => task.interrupts) as { id: string; value: Question; response_schema: object }[];
  }

  async state() {
    return (await this.#agent.getState(this.config)).values as { reviews: object; messages: BaseMessage[] };
  }
}

export interface Question {
  readonly kind: string;
  readonly tool_call_id: string;
  readonly args_digest: string;
  readonly description: string;
  readonly error?: string;
  readonly action_request: { readonly action: string; readonly args: Record<string, unknown> };
  readonly [key: string]: unknown;
}

/** The answers to tool calls, as the model reads them. */
export function results(messages: readonly BaseMessage[]): Record<string, unknown>[] {
  return messages
    .filter((message) => ToolMessage.isInstance(message))
    .map((message) => JSON.parse(message.text) as Record<string, unknown>);
}

export function lastAnswer(messages: readonly BaseMessage[]): AIMessage {
  const last = messages.at(-1);
  if (!AIMessage.isInstance(last)) throw new Error(`The last message is of type ${last?.type}`);
  return last;
}
