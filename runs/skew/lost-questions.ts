/** Questions that a thread waits with, and that the loaded graph would not ask: what a person answers would reach nobody. */
import { z } from "zod";
import { fold, openQuestions, type PendingQuestion, type Tasks } from "../../checkpoints/open-questions.ts";
import type { Standing } from "../../checkpoints/read-parked.ts";
import { offeredTools, toolsOfAgent } from "../../lib/offered-tools.ts";
import type { Level } from "./levels.ts";
import type { SkewReason } from "./reason.ts";

export function lostQuestions(standing: Standing, levels: readonly Level[]): SkewReason[] {
  return questionsOf(standing).flatMap((question) => lostQuestion(question, levels));
}

function questionsOf({ root, below }: Standing): PendingQuestion[] {
  const tasks = new Map<string, Tasks>();
  for (const [ns, tuple] of [["", root] as const, ...below]) {
    const inNs: Tasks = new Map();
    for (const [taskId, channel, value] of tuple.pendingWrites ?? []) fold(inNs, taskId, [[channel, value]]);
    tasks.set(ns, inNs);
  }
  return openQuestions(tasks);
}

function lostQuestion({ interrupt_id, ns, path, value }: PendingQuestion, levels: readonly Level[]): SkewReason[] {
  const above = levels.filter((level) => level.ns === "" || level.ns === ns);
  const at = ns === "" ? {} : { ns };
  // A level that cannot be read has a reason of its own.
  const readable = above.filter(({ missing }) => missing.every(({ kind }) => kind !== "state_unreadable"));
  if (readable.some(({ tasks }) => !path.some((id) => tasks.has(id)))) {
    return [{ kind: "question_gone", interrupt_id, ...at }];
  }
  const asking = above.at(-1)?.graph;
  const offered = asking && (offeredTools(asking) ?? toolsOfAgent(asking.nodes));
  const asked = offered ? toolsOf(value).filter((tool) => !offered.has(tool)) : [];
  return asked.map((tool) => ({ kind: "tool_gone", tool, interrupt_id, ...at }));
}

const Action = z.object({ name: z.string() });
/** As `nodes/review.ts` and LangChain's middleware write them, and as agent-inbox does. */
const Approval = z.object({
  action_requests: z.array(Action).optional(),
  actionRequests: z.array(Action).optional(),
  action_request: z.object({ action: z.string() }).optional(),
});

function toolsOf(value: unknown): string[] {
  const { data } = Approval.safeParse(value);
  const actions = [...(data?.action_requests ?? []), ...(data?.actionRequests ?? [])].map(({ name }) => name);
  return [...new Set([...actions, ...(data?.action_request ? [data.action_request.action] : [])])];
}
