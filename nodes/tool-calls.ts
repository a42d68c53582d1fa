/** The tool calls that a message asks for, those with unreadable arguments among them: each of them needs an answer. */
import { AIMessage, type BaseMessage } from "@langchain/core/messages";

export interface RequestedCall {
  readonly id: string;
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
  /** Why it can't run, whatever its tool is. */
  readonly flaw?: string;
}

/** In the order in which a request carries them: first the valid ones (see models/outgoing.ts). */
export function callsOf(message: AIMessage): RequestedCall[] {
  const valid = (message.tool_calls ?? []).map(({ id = "", name, args }) => ({ id, name, args }));
  const invalid = (message.invalid_tool_calls ?? []).map(({ id = "", name = "", error }) => {
    return { id, name, args: {}, flaw: error ?? "The arguments are not a JSON object" };
  });
  return [...valid, ...invalid];
}

/** The calls of the newest message, which nothing has answered yet. */
export function pendingCalls(messages: readonly BaseMessage[]): RequestedCall[] {
  const newest = messages.at(-1);
  if (!AIMessage.isInstance(newest)) return [];
  const calls = callsOf(newest);
  return calls.map((call) => (isNamedOnce(call, calls) ? call : { ...call, flaw: "The call has no id of its own" }));
}

/** Not so in a message that a client wrote into the state: one approval would then fit two calls. */
function isNamedOnce({ id }: RequestedCall, calls: readonly RequestedCall[]): boolean {
  return id !== "" && calls.filter((call) => call.id === id).length === 1;
}
