/**
 * What OpenAI and vLLM demand of a chat history, as strictly as the strictest of their templates: every tool call is
 * answered directly after its message, no answer stands alone, the system prompt comes first. The demo model and the
 * scripted model of the tests both refuse anything else, so each demonstration and each test proves that rule.
 */
import { z } from "zod";

const ToolCall = z.object({
  id: z.string().min(1),
  type: z.literal("function"),
  function: z.object({ name: z.string().min(1), arguments: z.string() }),
});

/** Text, or parts such as `{type: "text", text}` and `{type: "image_url", image_url}`. */
const Content = z.union([z.string(), z.array(z.looseObject({ type: z.string() })).min(1)]);

export const ChatMessage = z.discriminatedUnion("role", [
  z.object({ role: z.literal(["system", "developer"]), content: Content }),
  z.object({ role: z.literal("user"), content: Content }),
  z.object({
    role: z.literal("assistant"),
    content: Content.nullish(),
    tool_calls: z.array(ToolCall).min(1).optional(),
  }),
  z.object({ role: z.literal("tool"), tool_call_id: z.string().min(1), content: Content }),
]);
export type ChatMessage = z.infer<typeof ChatMessage>;

/** Everything that is wrong with the `messages` of a request, in words; empty when a strict endpoint accepts them. */
export function historyViolations(messages: unknown): string[] {
  const parsed = z.array(ChatMessage).min(1).safeParse(messages);
  if (!parsed.success) {
    return parsed.error.issues.map((issue) => `messages.${issue.path.join(".")}: ${issue.message}`);
  }
  const violations: string[] = [];
  let open = new Set<string>();
  for (const [at, message] of parsed.data.entries()) {
    if (message.role === "tool") {
      if (!open.delete(message.tool_call_id)) {
        violations.push(`messages.${at}: no open tool call has the id "${message.tool_call_id}"`);
      }
      continue;
    }
    violations.push(...unanswered(open, at));
    open = new Set();
    if (message.role === "system" && at > 0) violations.push(`messages.${at}: a system message must come first`);
    if (message.role === "assistant") {
      violations.push(...flawsOfAssistant(message, at));
      open = new Set(message.tool_calls?.map((call) => call.id));
    }
  }
  return [...violations, ...unanswered(open, parsed.data.length)];
}

function unanswered(open: ReadonlySet<string>, at: number): string[] {
  return [...open].map((id) => `messages.${at}: the tool call "${id}" has no tool message directly after it`);
}

function flawsOfAssistant(message: Extract<ChatMessage, { role: "assistant" }>, at: number): string[] {
  const calls = message.tool_calls ?? [];
  const flaws: string[] = [];
  if (calls.length === 0 && message.content == null) flaws.push(`messages.${at}: neither content nor tool calls`);
  if (new Set(calls.map((call) => call.id)).size < calls.length) flaws.push(`messages.${at}: a tool call id repeats`);
  for (const call of calls) {
    // vLLM parses the arguments of past calls before it renders the chat template.
    if (!isJsonObject(call.function.arguments)) {
      flaws.push(`messages.${at}: the arguments of "${call.id}" are not a JSON object`);
    }
  }
  return flaws;
}

function isJsonObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}
