/**
 * The real graph on random conversations that are cut anywhere, against a model server that repeats its ids: it refuses
 * every request whose history is not sound, and the thread goes on all the same.
 */
import { AIMessage } from "@langchain/core/messages";
import { Command } from "@langchain/langgraph";
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FixedStep, type ScriptedModel, scriptedModel } from "../support/scripted-model.ts";
import { Conversation, toolbox } from "./agent.ts";

/** What the model says next; a repeated id is the rule. */
let answers: FixedStep[] = [];
let model: ScriptedModel;
beforeAll(async () => {
  model = await scriptedModel([], { otherwise: () => answers.shift() ?? { id: "same", text: "Done." } });
  process.env["MODEL_BASE_URL"] = model.url;
  process.env["MODEL_NAME"] = "scripted";
});
afterAll(() => model[Symbol.asyncDispose]());

const call = fc.record({
  id: fc.constantFrom("call_0", "call_1"),
  name: fc.constantFrom("add", "pay", "fail", "missing"),
  args: fc.constantFrom<Record<string, unknown> | string>(
    { a: 1, b: 2 },
    { to: "bob", cents: 5 },
    { foreseen: true },
    "{",
  ),
});
const answer = fc.record({
  id: fc.constant("same"),
  text: fc.constantFrom("", "Hm."),
  calls: fc.array(call, { maxLength: 3 }),
});
const step = fc.oneof(
  fc.record({ kind: fc.constant("say" as const), cutAfter: fc.option(fc.nat({ max: 4 }), { nil: undefined }) }),
  fc.record({
    kind: fc.constant("answer" as const),
    resume: fc.constantFrom<unknown>({ type: "approve" }, { type: "reject" }, "yes", {
      type: "edit",
      edited_action: { name: "pay", args: { to: "eve", cents: 1 } },
    }),
    cutAfter: fc.option(fc.nat({ max: 3 }), { nil: undefined }),
  }),
  fc.record({ kind: fc.constant("edit" as const), call: fc.constantFrom("call_0", "call_1", "call_2") }),
);

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Until the `cutAfter`th event, where the run is aborted as by a cancel. */
async function drive(conversation: Conversation, input: unknown, cutAfter = Number.POSITIVE_INFINITY): Promise<void> {
  const cut = new AbortController();
  let seen = 0;
  try {
    const options = { ...conversation.config, signal: cut.signal, streamMode: "debug" as const };
    for await (const _ of await conversation.agent.stream(input as never, options)) {
      if (seen++ === cutAfter) cut.abort(new Error("cut"));
    }
  } catch (error) {
    if (!cut.signal.aborted) throw error;
  }
}

async function take(conversation: Conversation, taken: Step): Promise<void> {
  const human = (content: string) => ({ messages: [{ role: "user", content }] });
  if (taken.kind === "say") return drive(conversation, human("Go"), taken.cutAfter);
  if (taken.kind === "edit") {
    const tool_calls = [{ type: "tool_call" as const, id: taken.call, name: "add", args: { a: 1, b: 1 } }];
    const written = new AIMessage({ content: "", tool_calls });
    await conversation.agent.updateState(conversation.config, { messages: [written] }, "model");
    return undefined;
  }
  const [question] = await conversation.questions();
  if (!question) return undefined;
  return drive(conversation, new Command({ resume: { [question.id]: taken.resume } }), taken.cutAfter);
}

test("no request is refused, no message id comes twice, and each thread can go on", { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(answer, { maxLength: 8 }),
      fc.array(step, { minLength: 1, maxLength: 5 }),
      async (said, steps) => {
        const conversation = new Conversation(toolbox().tools);
        answers = [...said];
        for (const taken of steps) await take(conversation, taken);
        answers = [];
        const messages = await conversation.say("Are you there?");
        expect(messages.at(-1)!.text).toBe("Done.");
        expect(new Set(messages.map(({ id }) => id)).size).toBe(messages.length);
      },
    ),
    { numRuns: 150 },
  );
  expect(model.requests.flatMap(({ violations }) => violations)).toEqual([]);
  expect(model.requests.length).toBeGreaterThan(150);
});
