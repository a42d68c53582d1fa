/** The message that answers a tool call: JSON for the model, with a status for people's clients. */
import { ToolMessage } from "@langchain/core/messages";
import { cleanText } from "../lib/text.ts";

/** Why a call has no result; beside the codes of the tool executor. */
type RefusalCode =
  | "UNKNOWN_TOOL"
  | "INVALID_ARGS"
  | "NOT_APPROVED"
  | "REJECTED"
  | "REPEATED_CALL"
  | "EFFECT_UNKNOWN"
  | "NOT_EXECUTED";

export interface ToolAnswer {
  readonly status: "ok" | "error";
  readonly [key: string]: unknown;
}

/** The message's id follows from the call's: an answer that is given twice replaces itself. */
export function toolResult(call: { readonly id: string; readonly name: string }, answer: ToolAnswer): ToolMessage {
  return new ToolMessage({
    id: `result-${call.id}`,
    tool_call_id: call.id,
    name: call.name,
    status: answer.status === "ok" ? "success" : "error",
    content: cleanText(JSON.stringify(answer)),
  });
}

export function refusal(code: RefusalCode, message: string): ToolAnswer {
  return { status: "error", code, message };
}
