/**
 * A graph of one tool call, whose other side is the HTTP server at EFFECT_URL: it is told of every stage, answers when
 * the test wants the call to go on, and counts what was sent.
 */
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { StateGraph } from "@langchain/langgraph";
import { z } from "zod";
import { executeToolCall } from "../../../nodes/execute-tool.ts";
import { defineTool, type EffectKind, type Tool } from "../../../tools/index.ts";
import { Log } from "../runs.ts";

export async function tell(stage: string, key: string, signal?: AbortSignal): Promise<unknown> {
  const url = `${process.env["EFFECT_URL"]}/${stage}?key=${encodeURIComponent(key)}`;
  const response = await fetch(url, { method: "POST", signal: signal ?? null });
  return response.json();
}

function sending(name: string, effect: EffectKind, more: Partial<Tool> = {}): Tool {
  return defineTool({
    name,
    description: "Tells the other side.",
    input: z.strictObject({ text: z.string() }),
    effect,
    timeoutMs: 60_000,
    async run(_, { idempotencyKey, signal }) {
      await tell("before", idempotencyKey, signal);
      signal.throwIfAborted();
      return tell("send", idempotencyKey, signal);
    },
    ...more,
  });
}

const tools = [
  sending("irreversible", "irreversible"),
  sending("idempotent", "idempotent"),
  sending("reconciled", "irreversible", {
    reconcile: async (_, { idempotencyKey, signal }) =>
      (await tell("ask", idempotencyKey, signal)) as { happened: false } | { happened: true; result: unknown },
  }),
];

/** `name` is a tool; the call's id and text may be given, too. */
const CallState = z.object({
  name: z.string(),
  id: z.string().default("call-1"),
  text: z.string().default("hello"),
});

export function effectGraph() {
  return new StateGraph(Log, { context: CallState })
    .addNode("call", async (_state, config: LangGraphRunnableConfig) => {
      const { name, id, text } = CallState.parse(config.context);
      const call = { id, name, args: { text } };
      const { messages } = await executeToolCall(tools)({ call, isRepeated: false }, config);
      await tell("after", id);
      return { log: messages.map((message) => message.text) };
    })
    .addEdge("__start__", "call")
    .compile();
}

export const graph = effectGraph();
