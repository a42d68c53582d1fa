/** A tool call as the model wrote it, and as the rest of the program may use it. */
import type { InvalidToolCall, ToolCall } from "@langchain/core/messages/tool";
import { cleanJson, cleanText } from "../lib/text.ts";

export interface RawCall {
  readonly id: string;
  readonly name: string;
  /** Text that should be a JSON object. */
  args: string;
}

type ParsedCall = (ToolCall & { type: "tool_call" }) | (InvalidToolCall & { type: "invalid_tool_call" });

/**
 * Strict: LangChain's stream parser *repairs* JSON that broke off, so `{"to": "ann@exa` would become a call to a wrong
 * address.
 */
export function parseCall({ id, name, args }: RawCall): ParsedCall {
  try {
    // Servers send nothing for a tool without parameters.
    const value: unknown = JSON.parse(args.trim() === "" ? "{}" : args);
    if (name !== "" && typeof value === "object" && value !== null && !Array.isArray(value)) {
      return { type: "tool_call", id, name: cleanText(name), args: cleanJson(value as Record<string, unknown>) };
    }
  } catch {
    // Falls through: to the caller, no JSON is the same as JSON of a wrong shape.
  }
  const error = "The arguments are not a JSON object";
  return { type: "invalid_tool_call", id, name: cleanText(name), args: cleanText(args), error };
}
