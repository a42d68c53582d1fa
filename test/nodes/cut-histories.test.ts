/**
 * Ten thousand threads that are cut at random moments, by a kill, a cancel, a reject, a limit, an edit or a person who
 * types instead of clicking, with a model server that repeats its ids: none gets a history that a strict endpoint refuses.
 */
import {
  AIMessage,
  type BaseMessage,
  ChatMessage,
  HumanMessage,
  RemoveMessage,
  SystemMessage,
  ToolMessage,
} from "@langchain/core/messages";
import { messagesStateReducer } from "@langchain/langgraph";
import { convertMessagesToCompletionsMessageParams } from "@langchain/openai";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { EffectLedger } from "../../lib/effect-ledger.ts";
import { EffectsInMemory } from "../../lib/effects-in-memory.ts";
import type { HostPorts } from "../../lib/host.ts";
import { settle } from "../../models/answer.ts";
import { historyViolations } from "../../models/demo/validate-history.ts";
import { type Body, Ingest } from "../../models/ingest.ts";
import { outgoing } from "../../models/outgoing.ts";
import { healHistory } from "../../nodes/heal-history.ts";
import { repairHistory } from "../../nodes/repair-history.ts";
import { callsOf, pendingCalls } from "../../nodes/tool-calls.ts";
import { refusal, toolResult } from "../../nodes/tool-result.ts";

type Params = ReturnType<typeof convertMessagesToCompletionsMessageParams>;
const wire = (messages: readonly BaseMessage[]): Params =>
  convertMessagesToCompletionsMessageParams({
    messages: outgoing([new SystemMessage("prompt"), ...messages]),
    model: "any",
  });

/** A thread as the graph has it, and a ledger with what became of its calls. */
class Thread {
  messages: BaseMessage[] = [];
  readonly ledger = new EffectLedger(new EffectsInMemory("thread"), new AbortController().signal);

  add(...update: BaseMessage[]): void {
    this.messages = messagesStateReducer(this.messages, update);
  }

  /** What the node does before a request: the history is healed, checked, and kept. */
  async heal(): Promise<Params> {
    const host = { knownEffects: (ids) => this.ledger.known(ids) } as Pick<HostPorts, "knownEffects"> as HostPorts;
    const { messages, updates, repairs } = await healHistory(this.messages, host);
    if (updates.length > 0) this.add(...updates);
    const ids = this.messages.map(({ id }) => id);
    const params = wire(this.messages);
    // One assertion for all: ten thousand threads make a hundred thousand checks.
    expect({
      isRecorded: updates.length > 0 === repairs.length > 0,
      isKept: messages.every(({ id }, at) => id === ids[at]) && messages.length === ids.length,
      repeatedIds: ids.length - new Set(ids).size,
      repairsOfRepaired: repairHistory(this.messages).repairs,
      violations: historyViolations(params),
    }).toEqual({ isRecorded: true, isKept: true, repeatedIds: 0, repairsOfRepaired: [], violations: [] });
    return params;
  }
}

type Step = (thread: Thread) => Promise<void> | void;

const callIds = fc.constantFrom("call_0", "call_1", "call_2", "");
const withId = (id: string | undefined) => (id === undefined ? {} : { id });
const messageId = fc.option(fc.constantFrom("m1", "m2", "m3"), { nil: undefined });

const say = messageId.map(
  (id): Step =>
    (thread) =>
      thread.add(new HumanMessage({ content: "hello", ...withId(id) })),
);

/** A model server that numbers its calls, gives every answer the same id and cannot always write JSON. */
const turn = fc
  .record({
    text: fc.constantFrom("", "Let me see."),
    calls: fc.array(fc.record({ id: callIds, args: fc.constantFrom("{}", '{"a":1}', '{"a":', "") }), { maxLength: 3 }),
  })
  .map(({ text, calls }): Step => async (thread) => {
    const ingest = new Ingest(await thread.heal());
    const tool_calls = calls.map(({ id, args }) => ({
      id,
      type: "function",
      function: { name: "look", arguments: args },
    }));
    ingest.body({
      id: "chatcmpl-0",
      choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: text, tool_calls } }],
    } as unknown as Body);
    thread.add(settle({ response_metadata: {} } as never, ingest));
  });

/** Some of the open calls get an answer, in any order: then the process is killed, the run cancelled, or all is well. */
const results = fc
  .array(fc.record({ nth: fc.nat({ max: 3 }), how: fc.constantFrom("ok", "rejected", "limit") }), { maxLength: 4 })
  .map((answers): Step => (thread) => {
    const open = pendingCalls(thread.messages);
    thread.add(
      ...answers.flatMap(({ nth, how }) => {
        const call = open[nth];
        if (!call) return [];
        const answer =
          how === "ok"
            ? ({ status: "ok", result: 1 } as const)
            : refusal(how === "limit" ? "REPEATED_CALL" : "REJECTED", how);
        return [toolResult(call, answer)];
      }),
    );
  });

/** Calls that were sent, recorded or not, and whose step was never stored. */
const sent = fc
  .record({ nth: fc.nat({ max: 3 }), isRecorded: fc.boolean() })
  .map(({ nth, isRecorded }): Step => async (thread) => {
    const call = pendingCalls(thread.messages)[nth];
    if (!call) return;
    const effect = {
      key: `${call.id}:0`,
      name: call.name,
      kind: "irreversible",
      toolCallId: call.id,
      taskId: "task",
    } as const;
    const outcome = () => (isRecorded ? Promise.resolve({ status: "ok" }) : Promise.reject(new Error("killed")));
    await thread.ledger.perform(effect, outcome).catch(() => undefined);
  });

/** A client writes into the state: messages of its own and of other providers, new calls in an old message, a message less. */
const edit = fc
  .record({
    kind: fc.constantFrom("ai", "tool", "replace", "remove", "empty", "raw", "blocks", "role"),
    id: messageId,
    call: callIds,
    nth: fc.nat({ max: 9 }),
  })
  .map(({ kind, id, call, nth }): Step => (thread) => {
    const target = thread.messages[nth % Math.max(1, thread.messages.length)];
    const tool_calls = [{ type: "tool_call" as const, id: call, name: "look", args: {} }];
    if (kind === "ai") thread.add(new AIMessage({ content: "", tool_calls, ...withId(id) }));
    if (kind === "tool") thread.add(new ToolMessage({ content: "seen", tool_call_id: call, ...withId(id) }));
    if (kind === "empty") thread.add(new AIMessage({ content: "", ...withId(id) }));
    const raw = { id: call, type: "function" as const, function: { name: "look", arguments: "{}" } };
    const added = Object.assign(new AIMessage({ content: "", ...withId(id) }), {
      additional_kwargs: { tool_calls: [raw] },
    });
    if (kind === "raw") thread.add(added);
    if (kind === "blocks") thread.add(new AIMessage({ content: [{ type: "tool_use", id: call }], ...withId(id) }));
    if (kind === "role") thread.add(new ChatMessage({ role: "critic", content: "no", ...withId(id) }));
    if (kind === "replace" && target?.id) thread.add(new AIMessage({ content: "edited", tool_calls, id: target.id }));
    if (kind === "remove" && target?.id) thread.add(new RemoveMessage({ id: target.id }));
  });

const thread = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: say },
    { weight: 4, arbitrary: turn },
    { weight: 4, arbitrary: results },
    { weight: 2, arbitrary: edit },
    { weight: 1, arbitrary: sent },
  ),
  { minLength: 1, maxLength: 12 },
);

test("ten thousand of them, and none is refused", { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(thread, async (steps) => {
      const cut = new Thread();
      for (const step of steps) await step(cut);
      await cut.heal();
    }),
    { numRuns: 10_000 },
  );
});

test("a call that was sent is not told to have been left out, and one that was recorded keeps its result", async () => {
  const cut = new Thread();
  const calls = ["a", "b", "c"].map((id) => ({ type: "tool_call" as const, id, name: "look", args: {} }));
  cut.add(new HumanMessage({ id: "h", content: "go" }), new AIMessage({ id: "m", content: "", tool_calls: calls }));
  const effect = (id: string) =>
    ({ key: id, name: "look", kind: "irreversible", toolCallId: id, taskId: "task" }) as const;
  await cut.ledger.perform(effect("a"), async () => ({ status: "ok", result: 7 }));
  await cut.ledger.perform(effect("b"), () => Promise.reject(new Error("killed"))).catch(() => undefined);
  await cut.heal();
  expect(cut.messages.slice(2).map(({ text }) => JSON.parse(text) as unknown)).toMatchObject([
    { status: "ok", result: 7 },
    { code: "EFFECT_UNKNOWN" },
    { code: "NOT_EXECUTED" },
  ]);
  expect(callsOf(cut.messages[1] as AIMessage)).toHaveLength(3);
});

test.each([
  [["dispatched", "committed"], "EFFECT_UNKNOWN"],
  [["committed", "dispatched"], "EFFECT_UNKNOWN"],
  [["unknown", "reserved"], "EFFECT_UNKNOWN"],
  [["failed", "committed", "reserved"], "of committed"],
  [["committed", "failed"], "of committed"],
  [["reserved"], "NOT_EXECUTED"],
] as const)(
  "a call that the ledger has as %j, each with other arguments, is told as the heaviest",
  async (states, told) => {
    const calls = [{ type: "tool_call" as const, id: "c", name: "look", args: {} }];
    const history = [
      new HumanMessage({ id: "h", content: "go" }),
      new AIMessage({ id: "m", content: "", tool_calls: calls }),
    ];
    const known = states.map((state) => ({ toolCallId: "c", state, result: { status: "ok", result: `of ${state}` } }));
    const { messages } = await healHistory(history, { knownEffects: async () => known } as unknown as HostPorts);
    expect(messages[2]?.text).toContain(told);
  },
);
