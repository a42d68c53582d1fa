/** The message that a call ends with. */
import { AIMessage, type AIMessageChunk, type AIMessageFields } from "@langchain/core/messages";
import type { Ingest } from "./ingest.ts";
import { parseCall } from "./tool-call.ts";

/**
 * One form whichever way the answer came (at once, streamed, as protocol events): plain text as content, the tool calls
 * strictly parsed. Of LangChain's own message only the usage and the metadata are taken, since its content and its
 * calls differ in each of the three ways, and its raw copy of the calls would be sent back to the model.
 */
export function settle(message: AIMessageChunk, ingest: Ingest): AIMessage {
  // `output_version` says that the content is a list of blocks, which it is not any more.
  const { output_version: _, ...metadata } = message.response_metadata as Record<string, unknown>;
  const parsed = ingest.calls.map(parseCall);
  const fields: AIMessageFields = {
    id: ingest.id,
    content: ingest.text,
    tool_calls: parsed.filter((call) => call.type === "tool_call"),
    invalid_tool_calls: parsed.filter((call) => call.type === "invalid_tool_call"),
    additional_kwargs: ingest.reasoning === "" ? {} : { reasoning_content: ingest.reasoning },
    response_metadata: {
      ...metadata,
      finish_reason: ingest.finishReason,
      provider_message_id: ingest.providerId,
    },
  };
  if (message.usage_metadata) fields.usage_metadata = message.usage_metadata;
  return new AIMessage(fields);
}
