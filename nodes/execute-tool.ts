/**
 * Runs one tool call, or says why not: a task for each call, so that a crash repeats only what had not finished. A tool
 * that needs approval runs with exactly the arguments that were approved, or not at all. If it was sent and nobody knows
 * how it ended, a person is asked.
 */
import type { ToolMessage } from "@langchain/core/messages";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { hostOf } from "../lib/host.ts";
import { executeTool, type Tool } from "../tools/index.ts";
import { approvedArgs, needsReview, type Review } from "./approval.ts";
import { settingsOf } from "./settings.ts";
import type { RequestedCall } from "./tool-calls.ts";
import { answered } from "./unknown-effect.ts";
import { refusal, type ToolAnswer, toolResult } from "./tool-result.ts";

export interface ToolTask {
  readonly call: RequestedCall;
  readonly review?: Review | undefined;
  /** Whether the model made this call too often. */
  readonly isRepeated: boolean;
}

export function executeToolCall(tools: readonly Tool[]) {
  return async (task: ToolTask, config: LangGraphRunnableConfig): Promise<{ messages: ToolMessage[] }> => {
    const tool = tools.find(({ name }) => name === task.call.name);
    const answer = tool ? await answerOf(task, tool, config) : unknownTool(task.call, tools);
    return { messages: [toolResult(task.call, answer)] };
  };
}

async function answerOf(task: ToolTask, tool: Tool, config: LangGraphRunnableConfig): Promise<ToolAnswer> {
  const { call, review, isRepeated } = task;
  if (call.flaw) return refusal("INVALID_ARGS", call.flaw);
  if (isRepeated) {
    return refusal("REPEATED_CALL", "You made this call with the same arguments before. Use its result, or change it.");
  }
  if (!needsReview(call, tool)) return execute(tool, call, config);
  if (review?.verdict === "rejected") {
    const reason = review.message === undefined ? "" : ` The reviewer says: ${review.message}`;
    return refusal("REJECTED", `The reviewer rejected this call; it was not executed.${reason}`);
  }
  const args = approvedArgs(call, review);
  if (!args) return refusal("NOT_APPROVED", "Nobody approved this call with these arguments; it was not executed.");
  const outcome = await execute(tool, { ...call, args }, config);
  // Else the model believes in, and reports, what it had asked for.
  return review?.verdict === "edited" ? { ...outcome, args_edited_by_reviewer: args } : outcome;
}

function execute(tool: Tool, call: RequestedCall, config: LangGraphRunnableConfig): Promise<ToolAnswer> {
  const host = hostOf(config);
  return answered({ call, tool, host }, () =>
    executeTool(tool, call.args, {
      threadId: config.executionInfo?.threadId ?? "",
      toolCallId: call.id,
      signal: config.signal ?? new AbortController().signal,
      host,
      sandbox: settingsOf(config).sandbox,
    }),
  );
}

function unknownTool({ name }: RequestedCall, tools: readonly Tool[]): ToolAnswer {
  const known = tools.map((tool) => tool.name).sort();
  return refusal("UNKNOWN_TOOL", `There is no tool "${name}". There are: ${known.join(", ")}.`);
}
