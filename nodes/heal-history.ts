/**
 * Repairs a thread's history right before a model request, with what the ledger knows about the calls that nothing has
 * answered: a call that was sent must not be told to the model as one that never ran.
 */
import type { BaseMessage } from "@langchain/core/messages";
import type { KnownEffect } from "../lib/effect.ts";
import type { HostPorts } from "../lib/host.ts";
import { type RepairedHistory, repairHistory } from "./repair-history.ts";
import { refusal, type ToolAnswer } from "./tool-result.ts";

export async function healHistory(history: readonly BaseMessage[], host: HostPorts): Promise<RepairedHistory> {
  const repaired = repairHistory(history);
  const open = repaired.repairs.flatMap(({ type, call_id }) =>
    type === "missing_result" && call_id !== undefined ? [call_id] : [],
  );
  if (open.length === 0) return repaired;
  const known = (await host.knownEffects(open)).toSorted((a, b) => weightOf(a) - weightOf(b));
  // Of a call that was made with several sets of arguments the heaviest counts: it comes last.
  const answers = known.flatMap((effect) => {
    const answer = answerOf(effect);
    return answer ? [[effect.toolCallId, answer] as const] : [];
  });
  return answers.length === 0 ? repaired : repairHistory(history, new Map(answers));
}

function weightOf({ state }: KnownEffect): number {
  return ["reserved", "failed", "committed", "unknown", "dispatched"].indexOf(state);
}

function answerOf({ state, result }: KnownEffect): ToolAnswer | undefined {
  if (state === "committed" || state === "failed") return result as ToolAnswer | undefined;
  if (state === "reserved") return undefined;
  return refusal("EFFECT_UNKNOWN", "The call was sent, and whether it happened is not known. Do not repeat it.");
}
