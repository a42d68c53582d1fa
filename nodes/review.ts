/**
 * Asks a person about one tool call. A task of its own: the question's id then names one call, nothing before it runs
 * twice, and no effect can happen before the answer. An answer that can't be read is asked for again, in a new task.
 */
import { interrupt } from "@langchain/langgraph";
import { z } from "zod";
import { jsonDigest } from "../lib/digest.ts";
import type { Tool } from "../tools/index.ts";
import { judge, type Review } from "./approval.ts";
import { ReviewAnswer } from "./decision.ts";
import { superset } from "./question.ts";
import type { RequestedCall } from "./tool-calls.ts";

export interface ReviewTask {
  readonly call: RequestedCall;
  /** After an answer that could not be read. */
  readonly earlier?: Review | undefined;
}

/** As JSON Schema: a zod schema would make an unreadable answer fail the run. */
const responseSchema = z.toJSONSchema(ReviewAnswer, { io: "input", reused: "ref" });

const DECISIONS = ["approve", "edit", "reject"];

export function review(tools: readonly Tool[]) {
  return ({ call, earlier }: ReviewTask): { reviews: Record<string, Review> } => {
    const tool = tools.find(({ name }) => name === call.name);
    if (!tool) throw new Error(`The tool "${call.name}" is gone`);
    const answer: unknown = interrupt(questionAbout(call, tool, earlier), { responseSchema });
    return { reviews: { [call.id]: judge({ call, tool, earlier }, answer) } };
  };
}

/** A pure function of the state, since the task runs again to be answered. */
function questionAbout(call: RequestedCall, tool: Tool, earlier?: Review) {
  const { name, args } = call;
  const asked = `The agent wants to call "${name}".\n\n${tool.description}`;
  const error = earlier?.message;
  const { $schema: _, ...argsSchema } = z.toJSONSchema(tool.input, { io: "input" });
  return {
    kind: "tool_approval",
    tool_call_id: call.id,
    args_digest: jsonDigest(args),
    effect: tool.effect,
    ...superset({
      name,
      args,
      description: error === undefined ? asked : `${error}\n\n${asked}`,
      decisions: DECISIONS,
      argsSchema,
      config: { allow_accept: true, allow_edit: true, allow_respond: true, allow_ignore: false },
    }),
    ...(error !== undefined && { error }),
  };
}
