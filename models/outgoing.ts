/** The history as a strict endpoint takes it. */
import { AIMessage, type BaseMessage, ToolMessage } from "@langchain/core/messages";

/**
 * A call with invalid arguments that a tool message answers goes out as a call without arguments: endpoints refuse an
 * answer to no call, and vLLM refuses arguments that are not JSON. An unanswered one does not go out.
 */
export function outgoing(messages: readonly BaseMessage[]): BaseMessage[] {
  return messages.map((message, at) => {
    if (!AIMessage.isInstance(message) || !message.invalid_tool_calls?.length) return message;
    const answered = answersAfter(messages, at);
    const mended = message.invalid_tool_calls
      .filter(({ id }) => id !== undefined && answered.has(id))
      .map(({ id, name = "" }) => ({ type: "tool_call" as const, ...(id !== undefined && { id }), name, args: {} }));
    const { tool_calls: _, ...additional_kwargs } = message.additional_kwargs;
    return new AIMessage({
      ...(message.id !== undefined && { id: message.id }),
      content: message.content,
      tool_calls: [...(message.tool_calls ?? []), ...mended],
      additional_kwargs,
    });
  });
}

function answersAfter(messages: readonly BaseMessage[], at: number): ReadonlySet<string> {
  const ids = new Set<string>();
  for (const message of messages.slice(at + 1)) {
    if (!ToolMessage.isInstance(message)) break;
    ids.add(message.tool_call_id);
  }
  return ids;
}
