/** A call that was sent and whose outcome nobody knows: what a person is asked, and what each answer leads to. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import type { Reconciliation } from "../../lib/effect.ts";
import { defineTool, ToolFailure } from "../../tools/index.ts";
import { Conversation, modelOfThisFile, type Question, results } from "./agent.ts";

const model = modelOfThisFile();
afterEach(() => void vi.useRealTimers());

const args = { to: "bob" };
const wire = { name: "wire", args };

/** A transfer that nobody has to approve. `runs` is what each attempt does, the last one ever again. */
function bank(runs: (() => Promise<unknown>)[], reconcile?: () => Promise<Reconciliation>) {
  const sent: { to: string; key: string }[] = [];
  const tool = defineTool({
    name: "wire",
    description: "Wires money.",
    input: z.strictObject({ to: z.string() }),
    effect: "irreversible",
    timeoutMs: 1_000,
    run: ({ to }, { idempotencyKey }) => {
      const run = runs[Math.min(sent.length, runs.length - 1)]!;
      sent.push({ to, key: idempotencyKey });
      return run();
    },
    ...(reconcile && { reconcile }),
  });
  return { tool, sent };
}

const lost = (): Promise<never> => Promise.reject(new Error("socket closed"));
const done = (): Promise<string> => Promise.resolve("receipt 7");

async function asked(runs: (() => Promise<unknown>)[], reconcile?: () => Promise<Reconciliation>) {
  const { tool, sent } = bank(runs, reconcile);
  const conversation = new Conversation([tool]);
  model.current.script({ calls: [wire] });
  await conversation.say("Wire it");
  return { conversation, sent };
}

async function question(conversation: Conversation): Promise<Question> {
  const [first, ...more] = await conversation.questions();
  expect(more).toEqual([]);
  return first!.value;
}

/** The time of everything that asks for it; timers run on. */
function afterTheDeadline(): void {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 60_000 });
}

describe("the question", () => {
  test("says what is known, in the words of every client", async () => {
    const { conversation, sent } = await asked([lost]);
    const value = await question(conversation);
    expect(value).toMatchObject({
      kind: "effect_unknown",
      args_digest: expect.stringMatching(/^[0-9a-f]{64}$/),
      effect: "irreversible",
      idempotency_key: sent[0]!.key,
      attempt: 1,
      decisions: ["happened", "not_happened", "abandon"],
      action_requests: [{ name: "wire", action_name: "wire", args, arguments: args }],
      review_configs: [{ action_name: "wire", allowed_decisions: ["reject"] }],
      action_request: { action: "wire", args },
      config: { allow_accept: false, allow_edit: false, allow_respond: true, allow_ignore: true },
    });
    const { dispatched_at, deadline } = value as unknown as { dispatched_at: string; deadline: string };
    expect(Date.parse(deadline) - Date.parse(dispatched_at)).toBe(3_000);
    expect(results((await conversation.state()).messages)).toEqual([]);
  });

  test("is asked too when the call ran out of time", async () => {
    const { conversation, sent } = await asked([() => new Promise(() => {})]);
    expect(await question(conversation)).toMatchObject({ kind: "effect_unknown" });
    expect(sent).toHaveLength(1);
  });

  test("is the same however often it is looked at, and nothing is sent by looking", async () => {
    const { conversation, sent } = await asked([lost]);
    const before = await conversation.questions();
    await conversation.agent.invoke(null, conversation.config);
    expect(await conversation.questions()).toEqual(before);
    expect(sent).toHaveLength(1);
  });

  test("is not asked about a failure that the tool foresaw: nothing happened then", async () => {
    const { tool, sent } = bank([() => Promise.reject(new ToolFailure("FAILED", "No such account"))]);
    const conversation = new Conversation([tool]);
    model.current.script({ calls: [wire] }, { text: "No." });
    expect(results(await conversation.say("Wire it"))).toMatchObject([{ code: "FAILED" }]);
    expect(sent).toHaveLength(1);
  });
});

describe("it happened", () => {
  test.each([
    ["bare", { type: "happened", result: "receipt 7" }],
    ["as agent-chat-ui would wrap it", { decisions: [{ type: "happened", result: "receipt 7" }] }],
    ["in a list", [{ type: "happened", result: "receipt 7" }]],
  ])("%s: the result that the person gives is the call's, and nothing is sent", async (_, answer) => {
    const { conversation, sent } = await asked([lost]);
    model.current.script({ text: "Done." });
    const messages = await conversation.answer(answer);
    expect(results(messages)).toEqual([{ status: "ok", result: "receipt 7", reported_by: "reviewer" }]);
    expect(sent).toHaveLength(1);
  });

  test.each([
    ["agent-inbox", [{ type: "response", args: "happened" }]],
    ["agent-chat-ui, as the reason of a rejection", { decisions: [{ type: "reject", message: "happened" }] }],
  ])("needs no result, and can be typed into %s", async (_, answer) => {
    const { conversation } = await asked([lost]);
    model.current.script({ text: "Done." });
    const messages = await conversation.answer(answer);
    expect(results(messages)).toEqual([{ status: "ok", result: null, reported_by: "reviewer" }]);
  });
});

describe("it did not happen", () => {
  test.each([
    ["bare", { type: "not_happened" }],
    ["typed into agent-chat-ui", { decisions: [{ type: "reject", message: "not_happened" }] }],
  ])("%s: counts after the deadline, and the call is sent again, under the same key", async (_, answer) => {
    const { conversation, sent } = await asked([lost, done]);
    afterTheDeadline();
    model.current.script({ text: "Done." });
    const messages = await conversation.answer(answer);
    expect(results(messages)).toEqual([{ status: "ok", result: "receipt 7" }]);
    expect(sent).toEqual([sent[0], sent[0]]);
  });

  test("before it is refused and asked again, and does not count later either", async () => {
    const { conversation, sent } = await asked([lost, done]);
    const [before] = await conversation.questions();
    // By id, as Pawl does: a bare answer stays with the checkpoint, and the library gives it to the next question too.
    await conversation.answer({ [before!.id]: { type: "not_happened" } });
    const [after] = await conversation.questions();
    expect(after!.value.error).toContain("too early");
    afterTheDeadline();
    await conversation.agent.invoke(null, conversation.config);
    expect(await conversation.questions()).toEqual([after]);
    expect(sent).toHaveLength(1);
    model.current.script({ text: "Done." });
    const messages = await conversation.answer({ type: "happened" });
    expect(results(messages)).toMatchObject([{ status: "ok", result: null }]);
    expect(sent).toHaveLength(1);
  });

  test("and is lost again: the old answer does not answer the new question", async () => {
    const { conversation, sent } = await asked([lost, lost, done]);
    afterTheDeadline();
    const [before] = await conversation.questions();
    await conversation.answer({ [before!.id]: { type: "not_happened" } });
    expect(sent).toHaveLength(2);
    expect(await question(conversation)).toMatchObject({ attempt: 2 });
    await conversation.agent.invoke(null, conversation.config);
    expect(sent).toHaveLength(2);
    vi.setSystemTime(Date.now() + 60_000);
    model.current.script({ text: "Done." });
    const messages = await conversation.answer({ type: "not_happened" });
    expect(results(messages)).toEqual([{ status: "ok", result: "receipt 7" }]);
    expect(sent).toHaveLength(3);
  });
});

describe("it is left alone", () => {
  test.each([
    ["abandon", { type: "abandon", message: "not worth it" }],
    ["agent-chat-ui's reject", { decisions: [{ type: "reject", message: "not worth it" }] }],
    ["the same with the word in a sentence", { decisions: [{ type: "reject", message: "I guess it happened" }] }],
    ["the same with the word", { decisions: [{ type: "reject", message: "abandon" }] }],
    ["agent-inbox's ignore", [{ type: "ignore", args: null }]],
  ])("%s: nothing is sent, and the model is told not to", async (_, answer) => {
    const { conversation, sent } = await asked([lost, done]);
    afterTheDeadline();
    model.current.script({ text: "I do not know." });
    const messages = await conversation.answer(answer);
    expect(results(messages)).toMatchObject([
      { status: "error", code: "EFFECT_UNKNOWN", message: expect.stringContaining("reviewer decided to leave it") },
    ]);
    expect(results(messages)[0]).not.toHaveProperty("effect");
    expect(sent).toHaveLength(1);
  });
});

describe("anything unclear is refused and asked again", () => {
  const answers: unknown[] = [
    true,
    false,
    "yes",
    "happened",
    null,
    {},
    [],
    { type: "approve" },
    { decisions: [{ type: "approve" }] },
    [{ type: "accept", args: null }],
    { type: "edit", edited_action: { name: "wire", args } },
    { type: "respond", message: "I think so" },
    { type: "response", args: "happened", message: "not_happened" },
    { type: "happened", not: "really" },
    { type: "not_happened", result: "receipt" },
    { decisions: [{ type: "happened" }, { type: "happened" }] },
  ];

  test.each(answers.map((answer) => [answer]))("%j", async (answer) => {
    const { conversation, sent } = await asked([lost, done]);
    afterTheDeadline();
    const [before] = await conversation.questions();
    await conversation.answer({ [before!.id]: answer });
    const [after] = await conversation.questions();
    expect(after!.value.error).toContain("no decision");
    expect(after!.value.description).toContain(after!.value.error);
    expect(sent).toHaveLength(1);
  });

  test("five times, then it is left alone", async () => {
    const { conversation, sent } = await asked([lost, done]);
    for (let round = 1; round < 5; round += 1) await conversation.answer("yes");
    expect(await conversation.questions()).toHaveLength(1);
    model.current.script({ text: "Nobody knows." });
    expect(results(await conversation.answer("yes"))).toMatchObject([{ code: "EFFECT_UNKNOWN" }]);
    expect(sent).toHaveLength(1);
  });
});

describe("a tool that can ask the other side", () => {
  test("gets the result from there, and nobody is asked", async () => {
    const { tool, sent } = bank([lost], () => Promise.resolve({ happened: true, result: "receipt 7" }));
    const conversation = new Conversation([tool]);
    model.current.script({ calls: [wire] }, { text: "Done." });
    expect(results(await conversation.say("Wire it"))).toEqual([{ status: "ok", result: "receipt 7" }]);
    expect(sent).toHaveLength(1);
  });

  test("asks a person when the other side does not know, or the question fails", async () => {
    for (const reconcile of [() => Promise.resolve({ happened: "unknown" } as const), lost]) {
      const { conversation } = await asked([lost], reconcile);
      expect(await question(conversation)).toMatchObject({ kind: "effect_unknown" });
    }
  });

  test("goes before the person: what the other side knows by then counts", async () => {
    let happened: true | "unknown" = "unknown";
    const { conversation, sent } = await asked([lost, done], async () => ({ happened, result: "receipt 8" }));
    happened = true;
    afterTheDeadline();
    model.current.script({ text: "Done." });
    expect(results(await conversation.answer({ type: "not_happened" }))).toEqual([
      { status: "ok", result: "receipt 8" },
    ]);
    expect(sent).toHaveLength(1);
  });

  test("believes that nothing happened when the deadline is over, and not before", async () => {
    const told: boolean[] = [];
    const { tool, sent } = bank([lost], async (...context: unknown[]) => {
      const { deadline } = context[1] as { deadline: Date };
      told.push(Date.now() > deadline.getTime());
      return { happened: false };
    });
    const conversation = new Conversation([tool]);
    model.current.script({ calls: [wire] }, { text: "It failed." });
    expect(results(await conversation.say("Wire it"))).toMatchObject([{ status: "error", code: "INTERNAL" }]);
    expect(told).toEqual([false, true]);
    expect(sent).toHaveLength(1);
  });
});

test("a call that was under way when its run was cancelled is not told to have been left out", async () => {
  const cancel = new AbortController();
  const { tool, sent } = bank([() => (cancel.abort(new Error("cancelled")), new Promise(() => {}))]);
  const conversation = new Conversation([tool]);
  model.current.script({ calls: [wire] }, { text: "All right." });
  const input = { messages: [{ role: "user", content: "Wire it" }] };
  const run = conversation.agent.invoke(input, { ...conversation.config, signal: cancel.signal });
  await expect(run).rejects.toThrow();
  const messages = await conversation.say("What became of it?");
  expect(results(messages)).toMatchObject([{ code: "EFFECT_UNKNOWN" }]);
  expect(messages.at(-1)!.response_metadata["history_repaired"]).toMatchObject([{ type: "missing_result" }]);
  expect(sent).toHaveLength(1);
});

test("a person who types instead of answering is not told that the call never ran", async () => {
  const { conversation, sent } = await asked([lost]);
  model.current.script({ text: "All right." });
  const messages = await conversation.say("Never mind");
  expect(results(messages)).toMatchObject([{ code: "EFFECT_UNKNOWN", message: expect.stringContaining("was sent") }]);
  expect(await conversation.questions()).toEqual([]);
  expect(sent).toHaveLength(1);
});
