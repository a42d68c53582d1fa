/**
 * What OpenAI, vLLM and Mistral demand of a chat history, each rule as the strictest of them has it: every tool call is
 * answered once, directly after its message and in order; no answer stands alone and no id comes twice; the system
 * prompt comes first; a user speaks after an assistant's words and not after a tool's (mistral-common: "Unexpected role
 * 'user' after role 'tool'"), and an assistant does not speak last, nor say nothing. The demo model and the scripted
 * model of the tests both refuse anything else, so each demonstration and each test proves that rule.
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
  const known = new Set<string>();
  let open: string[] = [];
  for (const [at, message] of parsed.data.entries()) {
    if (message.role === "tool") {
      const expected = open.shift();
      if (message.tool_call_id !== expected) {
        const next = expected === undefined ? "no tool call is open" : `the next open tool call is "${expected}"`;
        violations.push(`messages.${at}: answers "${message.tool_call_id}" where ${next}`);
      }
      continue;
    }
    violations.push(...unanswered(open, at), ...flawsOfPlace(message.role, at, parsed.data[at - 1]?.role));
    open = [];
    if (message.role === "assistant") {
      violations.push(...flawsOfAssistant(message, at));
      open = message.tool_calls?.map((call) => call.id) ?? [];
      for (const id of open) {
        if (known.has(id)) violations.push(`messages.${at}: the tool call id "${id}" comes twice`);
        known.add(id);
      }
    }
  }
  violations.push(...unanswered(open, parsed.data.length));
  if (!["user", "tool"].includes(parsed.data.at(-1)!.role))
    violations.push("the last message is no user's and no tool's");
  return violations;
}

function flawsOfPlace(role: ChatMessage["role"], at: number, before: ChatMessage["role"] | undefined): string[] {
  if (role === "system" && at > 0) return [`messages.${at}: a system message must come first`];
  if (role === "user" && before === "tool") return [`messages.${at}: a user message directly after a tool message`];
  return [];
}

function unanswered(open: readonly string[], at: number): string[] {
  return open.map((id) => `messages.${at}: the tool call "${id}" has no tool message directly after it`);
}

function flawsOfAssistant(message: Extract<ChatMessage, { role: "assistant" }>, at: number): string[] {
  const calls = message.tool_calls ?? [];
  const flaws: string[] = [];
  if (calls.length === 0 && !message.content) flaws.push(`messages.${at}: neither content nor tool calls`);
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
