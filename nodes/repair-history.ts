/**
 * Makes any history one that the strictest model endpoint accepts: every tool call is answered exactly once, directly
 * after its message and in order. A crash, a cancelled run, a reject, a state edit or a person who types instead of
 * clicking leaves calls open; without this the thread could never go on.
 *
 * Pure, ids included: a replayed step makes the same repairs.
 */
import { createHash } from "node:crypto";
import { AIMessage, type BaseMessage, HumanMessage, RemoveMessage, ToolMessage } from "@langchain/core/messages";
import { REMOVE_ALL_MESSAGES } from "@langchain/langgraph";
import { callsOf } from "./tool-calls.ts";
import { refusal, type ToolAnswer, toolResult } from "./tool-result.ts";

export interface Repair {
  readonly type:
    | "missing_result"
    | "orphan_result"
    | "moved_result"
    | "duplicate_call_id"
    | "duplicate_message_id"
    | "malformed_message";
  /** Of the message that was added, removed or changed. */
  readonly message_id: string | undefined;
  /** Of the tool call that had no result, as its message has it. */
  readonly call_id?: string;
}

export interface RepairedHistory {
  readonly messages: BaseMessage[];
  /** What the messages reducer needs to arrive at `messages`; empty if nothing was wrong. */
  readonly updates: BaseMessage[];
  readonly repairs: Repair[];
}

/** A call that waits for its result, under its old and its new id. */
interface Slot {
  readonly givenId: string;
  readonly id: string;
  readonly name: string;
  result?: ToolMessage;
}

/** A message that is not a tool's, with the results that belong directly after it. */
interface Turn {
  readonly message: BaseMessage;
  readonly slots: Slot[];
}

/** `known`: what is known about open calls, by id. Without it a call counts as not executed. */
export function repairHistory(
  history: readonly BaseMessage[],
  known: ReadonlyMap<string, ToolAnswer> = new Map(),
): RepairedHistory {
  const repairs: Repair[] = [];
  const turns = groupByTurn(history, repairs);
  const laidOut = turns.flatMap((turn, at) => [
    turn.message,
    ...resultsOf(turn, repairs, ({ givenId }) => known.get(givenId) ?? notExecuted(turns[at + 1])),
  ]);
  const messages = withUniqueIds(laidOut, repairs);
  const changed = messages.length !== history.length || messages.some((message, at) => message !== history[at]);
  // Only a full rewrite can put a message between two others: the reducer appends what it does not know.
  const updates = changed ? [new RemoveMessage({ id: REMOVE_ALL_MESSAGES }), ...messages] : [];
  if (changed && repairs.length === 0) repairs.push({ type: "moved_result", message_id: undefined });
  return { messages, updates, repairs };
}

function groupByTurn(history: readonly BaseMessage[], repairs: Repair[]): Turn[] {
  const turns: Turn[] = [];
  const takenIds = new Set<string>();
  for (const message of history) {
    if (ToolMessage.isInstance(message)) {
      const slot = openSlot(turns, message.tool_call_id);
      if (slot) slot.result = message;
      else repairs.push({ type: "orphan_result", message_id: message.id });
    } else {
      turns.push(AIMessage.isInstance(message) ? turnOf(message, takenIds, repairs) : { message, slots: [] });
    }
  }
  return turns;
}

/** The newest message wins: servers that number their calls use the same ids again in each turn. */
function openSlot(turns: readonly Turn[], callId: string): Slot | undefined {
  for (const { slots } of turns.toReversed()) {
    const slot = slots.find((candidate) => candidate.givenId === callId && !candidate.result);
    if (slot) return slot;
  }
  return undefined;
}

function turnOf(message: AIMessage, takenIds: Set<string>, repairs: Repair[]): Turn {
  const slots = callsOf(message).map(({ id: givenId, name }, index): Slot => {
    const isFree = givenId !== "" && !takenIds.has(givenId);
    const id = isFree ? givenId : derivedId(`${message.id}/${givenId}/${index}`, takenIds);
    takenIds.add(id);
    return { givenId, id, name: name === "" ? "unknown" : name };
  });
  const valid = message.tool_calls ?? [];
  const isRenamed = slots.some(({ id, givenId }) => id !== givenId);
  const isMalformed = valid.some(({ name, args }) => name === "" || !isPlainObject(args)) || hasOnlyRawCalls(message);
  if (!isRenamed && !isMalformed) return { message, slots };
  repairs.push({ type: isRenamed ? "duplicate_call_id" : "malformed_message", message_id: message.id });
  return { message: rewritten(message, slots), slots };
}

/** Who takes the calls out of a message may leave the provider's raw copy of them. */
function hasOnlyRawCalls(message: AIMessage): boolean {
  return callsOf(message).length === 0 && (message.additional_kwargs.tool_calls ?? []).length > 0;
}

/** Without the provider's raw copy of the calls, which LangChain would send when no call is valid. */
function rewritten(message: AIMessage, slots: readonly Slot[]): AIMessage {
  const { tool_calls: _, ...additional_kwargs } = message.additional_kwargs;
  const valid = message.tool_calls ?? [];
  return new AIMessage({
    ...(message.id !== undefined && { id: message.id }),
    ...(message.name !== undefined && { name: message.name }),
    ...(message.usage_metadata !== undefined && { usage_metadata: message.usage_metadata }),
    content: message.content,
    tool_calls: valid.map(({ args }, index) => {
      const { id, name } = slots[index]!;
      return { type: "tool_call", id, name, args: isPlainObject(args) ? args : {} };
    }),
    invalid_tool_calls: (message.invalid_tool_calls ?? []).map((call, index) => {
      const { id, name } = slots[valid.length + index]!;
      return { ...call, id, name };
    }),
    additional_kwargs,
    response_metadata: message.response_metadata,
  });
}

function resultsOf({ slots }: Turn, repairs: Repair[], answerOf: (slot: Slot) => ToolAnswer): ToolMessage[] {
  return slots.map((slot) => {
    const { result, id, givenId } = slot;
    if (result && id === givenId) return result;
    if (!result) {
      repairs.push({ type: "missing_result", message_id: `result-${id}`, call_id: givenId });
      return toolResult(slot, answerOf(slot));
    }
    return new ToolMessage({
      ...(result.id !== undefined && { id: result.id }),
      tool_call_id: id,
      content: result.content,
      ...(result.name !== undefined && { name: result.name }),
      ...(result.status !== undefined && { status: result.status }),
      artifact: result.artifact,
    });
  });
}

function notExecuted(next: Turn | undefined): ToolAnswer {
  return refusal(
    "NOT_EXECUTED",
    HumanMessage.isInstance(next?.message)
      ? "The tool was not executed: the user went on without it."
      : "The tool was not executed: the run ended before it. Call it again if it is still needed.",
  );
}

/** Messages without an id get one here, since the reducer's would be random. */
function withUniqueIds(messages: readonly BaseMessage[], repairs: Repair[]): BaseMessage[] {
  const takenIds = new Set<string>();
  return messages.map((message, at) => {
    const isUnique = message.id !== undefined && !takenIds.has(message.id);
    const isEmpty = isEmptyList(message.content);
    const id = isUnique ? message.id! : derivedId(`message/${at}`, takenIds);
    takenIds.add(id);
    if (isUnique && !isEmpty) return message;
    repairs.push({ type: isEmpty ? "malformed_message" : "duplicate_message_id", message_id: id });
    const Class = message.constructor as new (fields: object) => BaseMessage;
    return new Class({ ...message.lc_kwargs, content: isEmpty ? "" : message.content, id });
  });
}

/** Nine characters: the only length that Mistral's templates accept for the id of a call. */
function derivedId(seed: string, takenIds: ReadonlySet<string>): string {
  for (let round = 0; ; round += 1) {
    const id = createHash("sha256").update(`${seed}/${round}`).digest("hex").slice(0, 9);
    if (!takenIds.has(id)) return id;
  }
}

function isEmptyList(content: BaseMessage["content"]): boolean {
  return Array.isArray(content) && content.length === 0;
}

function isPlainObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
