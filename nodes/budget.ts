/**
 * How long an agent may go on by itself. Everything is counted from the user's last message, so each run on a thread
 * starts afresh and a run that was interrupted or recovered does not. A limit ends in an answer, never in
 * GraphRecursionError.
 */
import { AIMessage, type BaseMessage, HumanMessage } from "@langchain/core/messages";
import { jsonDigest } from "../lib/digest.ts";
import { callsOf, type RequestedCall } from "./tool-calls.ts";

/** The turn in which the model makes the same call for the third time: refused, the model is told to change. */
const REFUSED_REPETITION = 3;

export type StopReason = "step_limit" | "repeated_call";

/** Why the next model call has to be the answer. */
export function stopReason(messages: readonly BaseMessage[], maxModelTurns: number): StopReason | undefined {
  const turns = modelTurns(messages);
  if (turns.length >= maxModelTurns - 1) return "step_limit";
  const calls = turns.at(-1) ? callsOf(turns.at(-1)!) : [];
  return calls.some((call) => timesMade(turns, call) > REFUSED_REPETITION) ? "repeated_call" : undefined;
}

/** Whether `call`, one of the newest message, was made too often with the same arguments to run again. */
export function isRepeated(messages: readonly BaseMessage[], call: RequestedCall): boolean {
  return timesMade(modelTurns(messages), call) >= REFUSED_REPETITION;
}

function modelTurns(messages: readonly BaseMessage[]): AIMessage[] {
  const lastInput = messages.findLastIndex((message) => HumanMessage.isInstance(message));
  return messages.slice(lastInput + 1).filter((message) => AIMessage.isInstance(message));
}

/** In how many turns. Equal calls side by side in one message count once: the model had no chance to learn. */
function timesMade(turns: readonly AIMessage[], call: RequestedCall): number {
  const wanted = signatureOf(call);
  return turns.filter((turn) => callsOf(turn).some((made) => signatureOf(made) === wanted)).length;
}

function signatureOf({ name, args, flaw }: RequestedCall): string {
  return `${name} ${flaw ?? jsonDigest(args)}`;
}
