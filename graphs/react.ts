/**
 * The ReAct agent: the model thinks, tools act, until the model answers. Risky calls wait for a person in between.
 *
 *     START -> model -> review (a task a call) -> reviewed -> tools (a task a call) -> model -> ... -> END
 *                       ^---------- undecided ---------'
 *
 * Compiled without a checkpointer: the host sets it, so this file runs under `langgraphjs dev`, Studio and Pawl.
 */
import type { BaseMessage, BaseMessageLike } from "@langchain/core/messages";
import {
  END,
  type LangGraphRunnableConfig,
  messagesStateReducer,
  ReducedValue,
  Send,
  START,
  StateGraph,
  StateSchema,
} from "@langchain/langgraph";
import { z } from "zod";
import { offeringTools } from "../lib/offered-tools.ts";
import { needsReview, Review, reviewOf } from "../nodes/approval.ts";
import { isRepeated } from "../nodes/budget.ts";
import { callModel } from "../nodes/call-model.ts";
import { executeToolCall, type ToolTask } from "../nodes/execute-tool.ts";
import { review, type ReviewTask } from "../nodes/review.ts";
import { AgentSettings, settingsOf } from "../nodes/settings.ts";
import { pendingCalls } from "../nodes/tool-calls.ts";
import { tools, type Tool } from "../tools/index.ts";

const Messages = new ReducedValue(
  z.custom<BaseMessage[]>().default(() => []),
  {
    inputSchema: z.custom<BaseMessageLike | BaseMessageLike[]>(),
    reducer: messagesStateReducer,
    // What LangGraph's own MessagesValue says, and that it is a list: Studio builds its form from it.
    jsonSchemaExtra: {
      langgraph_type: "messages",
      type: "array",
      items: { type: "object", properties: { role: { type: "string" }, content: {} }, required: ["content"] },
      description: "A list of chat messages",
    },
  },
);

/** By the id of the tool call. `null` forgets all. */
const Reviews = new ReducedValue(
  z.record(z.string(), Review).default(() => ({})),
  {
    inputSchema: z.record(z.string(), Review).nullable(),
    reducer: (current, update) => (update === null ? {} : { ...current, ...update }),
  },
);

const State = new StateSchema({ messages: Messages, reviews: Reviews });
/** What clients send and get: nobody can hand in an approval with the input. */
const Conversation = new StateSchema({ messages: Messages });

/** Twice what the highest turn limit needs (25 turns of two steps; a question starts the count anew). */
const RECURSION_LIMIT = 100;

export function reactAgent(offered: readonly Tool[]) {
  const nextTasks = (state: typeof State.State, config: LangGraphRunnableConfig): Send[] | typeof END => {
    const tasks = pendingCalls(state.messages).map((call): ToolTask => ({
      call,
      review: reviewOf(call, state.reviews),
      isRepeated: isRepeated(state.messages, call),
    }));
    if (tasks.length === 0) return END;
    const open = tasks.filter((task) => awaitsReview(task, offered));
    if (open.length === 0) return tasks.map((task) => new Send("tools", task));
    const asked = settingsOf(config).review_mode === "all_at_once" ? open : open.slice(0, 1);
    return asked.map(({ call, review: earlier }) => new Send("review", { call, earlier } satisfies ReviewTask));
  };
  return offeringTools(
    new StateGraph(State, { input: Conversation, output: Conversation, context: AgentSettings })
      .addNode("model", callModel(offered))
      .addNode("review", review(offered))
      // A branch sees what its own task wrote and not its siblings': only a step after all of them knows every decision.
      .addNode("reviewed", () => ({}))
      .addNode("tools", executeToolCall(offered))
      .addEdge(START, "model")
      .addConditionalEdges("model", nextTasks, ["review", "tools", END])
      .addEdge("review", "reviewed")
      .addConditionalEdges("reviewed", nextTasks, ["review", "tools", END])
      .addEdge("tools", "model")
      .compile({ name: "react" })
      .withConfig({ recursionLimit: RECURSION_LIMIT }),
    offered,
  );
}

function awaitsReview({ call, review: known, isRepeated: isRefused }: ToolTask, offered: readonly Tool[]): boolean {
  const tool = offered.find(({ name }) => name === call.name);
  return !isRefused && needsReview(call, tool) && (known === undefined || known.verdict === "unclear");
}

export const graph = reactAgent(tools);
