/** The history as a strict endpoint takes it. What is added here is sent, and never kept. */
import {
  AIMessage,
  type BaseMessage,
  ChatMessage,
  HumanMessage,
  SystemMessage,
  ToolMessage,
} from "@langchain/core/messages";

/** Between a tool's result and a user's next words, where the model never got to answer: Mistral refuses the one after the other. */
export const CUT_SHORT = "I was stopped before I could answer.";
/** Where nobody asks anything: Mistral refuses an assistant's words at the end. */
const GO_ON = "Go on.";

export function outgoing(history: readonly BaseMessage[]): BaseMessage[] {
  const said = history
    .map((message, at) => withTextOnly(withAnsweredCalls(withKnownRole(message), history.slice(at + 1))))
    .filter(saysSomething);
  const bridged = said.flatMap((message, at) =>
    HumanMessage.isInstance(message) && ToolMessage.isInstance(said[at - 1])
      ? [new AIMessage(CUT_SHORT), message]
      : [message],
  );
  const last = bridged.at(-1);
  const isAsked = HumanMessage.isInstance(last) || ToolMessage.isInstance(last);
  return isAsked ? bridged : [...bridged, new HumanMessage(GO_ON)];
}

/** Roles of older APIs and of a graph's own are refused: who is no assistant speaks as a user. */
function withKnownRole(message: BaseMessage): BaseMessage {
  if ([SystemMessage, HumanMessage, AIMessage, ToolMessage].some((known) => known.isInstance(message))) return message;
  const isAssistant = ChatMessage.isInstance(message) && message.role === "assistant";
  return new (isAssistant ? AIMessage : HumanMessage)({ content: message.content });
}

/**
 * Whatever else a provider puts into an assistant's content, calls in its own form, its reasoning or pictures, others
 * refuse; or LangChain leaves it out, down to an empty list.
 */
function withTextOnly(message: BaseMessage): BaseMessage {
  if (!AIMessage.isInstance(message) || typeof message.content === "string") return message;
  if (message.content.every(({ type }) => type === "text")) return message;
  return new AIMessage({
    ...(message.id !== undefined && { id: message.id }),
    content: message.text,
    tool_calls: message.tool_calls ?? [],
    additional_kwargs: message.additional_kwargs,
  });
}

/**
 * A call with invalid arguments that a tool message answers goes out as a call without arguments: endpoints refuse an
 * answer to no call, and vLLM refuses arguments that are not JSON. An unanswered one does not go out.
 */
function withAnsweredCalls(message: BaseMessage, later: readonly BaseMessage[]): BaseMessage {
  if (!AIMessage.isInstance(message) || !message.invalid_tool_calls?.length) return message;
  const answered = answersIn(later);
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
}

function answersIn(later: readonly BaseMessage[]): ReadonlySet<string> {
  const ids = new Set<string>();
  for (const message of later) {
    if (!ToolMessage.isInstance(message)) break;
    ids.add(message.tool_call_id);
  }
  return ids;
}

/** An assistant's message without words and calls, which a broken client may write, is refused by some and says nothing to any. */
function saysSomething(message: BaseMessage): boolean {
  if (!AIMessage.isInstance(message)) return true;
  return message.content.length > 0 || (message.tool_calls?.length ?? 0) > 0;
}
