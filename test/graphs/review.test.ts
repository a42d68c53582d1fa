import { describe, expect, test } from "vitest";
import { Conversation, lastAnswer, modelOfThisFile, type Question, results, toolbox } from "./agent.ts";

const model = modelOfThisFile();

const args = { to: "bob", cents: 500 };
const pay = { name: "pay", args };
const sum = { name: "add", args: { a: 2, b: 3 } };
const edited = { name: "pay", args: { to: "bob", cents: 5 } };
const inboxEdited = { action: "pay", args: edited.args };

/** A conversation that waits for a decision on the first of `calls` that needs one. */
async function asked(calls: readonly object[] = [pay], settings: Record<string, unknown> = {}) {
  const { tools, paid } = toolbox();
  const conversation = new Conversation(tools, settings);
  model.current.script({ calls: calls as never });
  await conversation.say("Pay Bob");
  return { conversation, paid };
}

async function question(conversation: Conversation): Promise<Question> {
  const [first, ...more] = await conversation.questions();
  expect(more).toEqual([]);
  return first!.value;
}

describe("the question", () => {
  test("speaks to every client at once, and nothing has happened yet", async () => {
    const { conversation, paid } = await asked();
    const value = await question(conversation);
    expect(paid).toEqual([]);
    expect(value).toMatchObject({
      kind: "tool_approval",
      actionRequests: [{ name: "pay", args }],
      action_requests: [{ name: "pay", action_name: "pay", args, arguments: args }],
      reviewConfigs: [{ actionName: "pay", allowedDecisions: ["approve", "edit", "reject"] }],
      review_configs: [{ action_name: "pay", allowed_decisions: ["approve", "edit", "reject"] }],
      action_request: { action: "pay", args },
      config: { allow_accept: true, allow_edit: true, allow_respond: true, allow_ignore: false },
    });
    expect(value.args_digest).toMatch(/^[0-9a-f]{64}$/);
    expect((await conversation.questions())[0]!.response_schema).toHaveProperty("anyOf");
  });

  test("is the same however often it is looked at", async () => {
    const { conversation } = await asked();
    const before = await conversation.questions();
    await conversation.agent.invoke(null, conversation.config);
    expect(await conversation.questions()).toEqual(before);
  });
});

describe("an approval in any dialect runs the call once", () => {
  test.each([
    ["LangChain", { decisions: [{ type: "approve" }] }],
    ["agent-inbox", [{ type: "accept", args: null }]],
    ["agent-inbox, with what was shown", [{ type: "accept", args: { action: "pay", args } }]],
    ["bare", { type: "approve" }],
    ["an edit that changes nothing", { type: "edit", edited_action: pay }],
  ])("%s", async (_, answer) => {
    const { conversation, paid } = await asked();
    model.current.script({ text: "Paid." });
    const messages = await conversation.answer(answer);
    expect(paid).toEqual([args]);
    expect(results(messages)).toEqual([{ status: "ok", result: { receipt: 1 } }]);
    expect(lastAnswer(messages).text).toBe("Paid.");
  });
});

describe("an edit in any dialect runs the edited call, and the model is told", () => {
  test.each([
    ["LangChain", { decisions: [{ type: "edit", editedAction: edited }] }],
    ["agent-chat-ui", { decisions: [{ type: "edit", edited_action: edited }] }],
    ["agent-inbox", [{ type: "edit", args: inboxEdited }]],
  ])("%s", async (_, answer) => {
    const { conversation, paid } = await asked();
    model.current.script({ text: "Paid less." });
    const messages = await conversation.answer(answer);
    expect(paid).toEqual([edited.args]);
    expect(results(messages)).toEqual([{ status: "ok", result: { receipt: 1 }, args_edited_by_reviewer: edited.args }]);
  });
});

describe("a refusal in any dialect runs nothing, and the model reads the reason", () => {
  test.each([
    ["LangChain", { decisions: [{ type: "reject", message: "Too much" }] }, "Too much"],
    ["a response", { decisions: [{ type: "respond", message: "Ask Ann" }] }, "Ask Ann"],
    ["agent-inbox", [{ type: "response", args: "Ask Ann" }], "Ask Ann"],
    ["ignored", [{ type: "ignore", args: null }], "not executed"],
  ])("%s", async (_, answer, reason) => {
    const { conversation, paid } = await asked();
    model.current.script({ text: "All right." });
    const messages = await conversation.answer(answer);
    expect(paid).toEqual([]);
    expect(results(messages)).toMatchObject([{ status: "error", code: "REJECTED" }]);
    expect(messages.at(-2)!.text).toContain(reason);
    expect(messages.at(-2)).toMatchObject({ status: "error" });
  });
});

describe("an answer that is no decision is asked for again, with an explanation", () => {
  const answers: unknown[] = [
    true,
    false,
    0,
    "",
    "yes",
    null,
    {},
    [],
    { type: "approved" },
    { decisions: [] },
    { decisions: [{ type: "approve" }, { type: "approve" }] },
    { type: "accept", args: { action: "pay", args: edited.args } },
    { type: "accept", args: { action: "add", args } },
    { type: "edit", edited_action: { name: "add", args } },
    { type: "edit", edited_action: { name: "pay", args: { to: "bob", cents: -1 } } },
    { type: "edit", edited_action: { name: "pay", args: {} } },
  ];

  test.each(answers.map((answer) => [answer]))("%j", async (answer) => {
    const { conversation, paid } = await asked();
    const [before] = await conversation.questions();
    // By id, since LangGraph itself refuses to resume with a bare falsy value.
    await conversation.answer({ [before!.id]: answer });
    const [after] = await conversation.questions();
    expect(paid).toEqual([]);
    expect(after!.id).not.toBe(before!.id);
    expect(after!.value.error).toEqual(expect.any(String));
    expect(after!.value.description).toContain(after!.value.error);
    expect({ ...after!.value.action_request }).toEqual({ action: "pay", args });

    model.current.script({ text: "Paid." });
    await conversation.answer({ type: "approve" });
    expect(paid).toEqual([args]);
  });

  test("five times, then the call is rejected", async () => {
    const { conversation, paid } = await asked();
    for (let round = 1; round < 5; round += 1) await conversation.answer("yes");
    expect(await conversation.questions()).toHaveLength(1);
    model.current.script({ text: "Nobody answered." });
    const messages = await conversation.answer("yes");
    expect(results(messages)).toMatchObject([{ code: "REJECTED" }]);
    expect(paid).toEqual([]);
  });
});

describe("several calls in one message", () => {
  const second = { name: "pay", args: { to: "eve", cents: 7 } };

  test("wait together for the one that needs approval, then run in order", async () => {
    const { conversation, paid } = await asked([sum, pay, sum]);
    expect(results((await conversation.state()).messages)).toEqual([]);
    model.current.script({ text: "Done." });
    const messages = await conversation.answer({ type: "approve" });
    expect(results(messages)).toMatchObject([{ result: 5 }, { result: { receipt: 1 } }, { result: 5 }]);
    expect(paid).toEqual([args]);
  });

  test("are asked about one at a time, each question under an id of its own", async () => {
    const { conversation, paid } = await asked([pay, sum, second]);
    const [first] = await conversation.questions();
    await conversation.answer({ type: "reject", message: "no" });
    const [next, ...more] = await conversation.questions();
    expect(more).toEqual([]);
    expect(next!.id).not.toBe(first!.id);
    expect(next!.value.action_request.args).toEqual(second.args);
    expect(paid).toEqual([]);
    model.current.script({ text: "Done." });
    const messages = await conversation.answer({ type: "approve" });
    expect(results(messages)).toMatchObject([{ code: "REJECTED" }, { result: 5 }, { result: { receipt: 1 } }]);
    expect(paid).toEqual([second.args]);
  });

  test("are asked about all at once if the client can answer by id, in any order", async () => {
    const { conversation, paid } = await asked([pay, sum, second], { review_mode: "all_at_once" });
    const [first, last, ...more] = await conversation.questions();
    expect(more).toEqual([]);
    await conversation.answer({ [last!.id]: { decisions: [{ type: "approve" }] } });
    expect(paid).toEqual([]);
    model.current.script({ text: "Done." });
    const messages = await conversation.answer({ [first!.id]: { decisions: [{ type: "reject" }] } });
    expect(results(messages)).toMatchObject([{ code: "REJECTED" }, { result: 5 }, { result: { receipt: 1 } }]);
    expect(paid).toEqual([second.args]);
  });

  test("may share an id from the model: each is decided for itself", async () => {
    const { conversation, paid } = await asked([
      { ...pay, id: "call_0" },
      { ...second, id: "call_0" },
    ]);
    await conversation.answer({ type: "approve" });
    model.current.script({ text: "Done." });
    await conversation.answer({ type: "reject" });
    expect(paid).toEqual([args]);
  });
});

describe("a person who types instead of deciding", () => {
  test("leaves the call unexecuted, and the conversation goes on", async () => {
    const { conversation, paid } = await asked();
    model.current.script({ text: "Fine, no payment." });
    const messages = await conversation.say("Never mind");
    expect(messages.map(({ type }) => type)).toEqual(["human", "ai", "tool", "human", "ai"]);
    expect(results(messages)).toMatchObject([
      { code: "NOT_EXECUTED", message: expect.stringContaining("went on") as string },
    ]);
    expect(await conversation.questions()).toEqual([]);
    expect(paid).toEqual([]);
  });

  test("is told to whoever watches the run as a repair of the history", async () => {
    const { conversation } = await asked([{ ...pay, id: "call_0" }]);
    model.current.script({ text: "Fine, no payment." });
    const stream = await conversation.agent.stream(
      { messages: [{ role: "user", content: "Never mind" }] },
      { ...conversation.config, streamMode: "custom" },
    );
    expect(await Array.fromAsync(stream)).toEqual([
      {
        type: "history_repaired",
        repairs: [{ type: "missing_result", message_id: "result-call_0", call_id: "call_0" }],
      },
    ]);
  });

  test("takes earlier approvals of that message back", async () => {
    const twice = { name: "pay", args: { to: "eve", cents: 7 } };
    const { conversation, paid } = await asked([{ ...pay, id: "call_0" }, twice]);
    await conversation.answer({ type: "approve" });
    model.current.script({ calls: [{ ...pay, id: "call_0" }] });
    await conversation.say("Start over");
    expect(paid).toEqual([]);
    expect((await question(conversation)).action_request.args).toEqual(args);
    expect((await conversation.state()).reviews).toEqual({});
  });
});

describe("an approval fits one call with exactly its arguments", () => {
  test("arguments that changed after the approval are asked about again", async () => {
    const { conversation, paid } = await asked([pay, { name: "pay", args: { to: "eve", cents: 7 } }]);
    await conversation.answer({ type: "approve" });
    const { messages } = await conversation.state();
    const call = lastAnswer(messages);
    call.tool_calls![0]!.args = { to: "mallory", cents: 999_999 };
    await conversation.agent.updateState(conversation.config, { messages: [call] }, "model");
    await conversation.agent.invoke(null, conversation.config);
    expect((await question(conversation)).action_request.args).toEqual({ to: "mallory", cents: 999_999 });
    expect(paid).toEqual([]);
  });

  test("an approval can't be handed in with the input", async () => {
    const { tools, paid } = toolbox();
    const conversation = new Conversation(tools);
    model.current.script({ calls: [{ ...pay, id: "call_0" }] });
    const reviews = { call_0: { verdict: "approved", call_digest: "any", answers: 1 } };
    const input = { messages: [{ role: "user", content: "Pay" }], reviews };
    await conversation.agent.invoke(input, conversation.config);
    expect((await conversation.state()).reviews).toEqual({});
    expect(await conversation.questions()).toHaveLength(1);
    expect(paid).toEqual([]);
  });
});
