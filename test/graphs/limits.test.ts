import { describe, expect, test } from "vitest";
import { Conversation, lastAnswer, modelOfThisFile, results, toolbox } from "./agent.ts";

const model = modelOfThisFile();
const sum = (a: number) => ({ calls: [{ name: "add", args: { a, b: 0 } }] });

describe("the step budget", () => {
  test("ends in an answer: the tenth model call can't choose a tool", async () => {
    model.current.script(...Array.from({ length: 9 }, (_, a) => sum(a)), { text: "That is all I found." });
    const messages = await new Conversation(toolbox().tools).say("Add");
    const answer = lastAnswer(messages);
    expect(answer.text).toBe("That is all I found.");
    expect(answer.response_metadata["degraded"]).toEqual({ reason: "step_limit", served_by: "model" });
    expect(results(messages)).toHaveLength(9);
    const choices = model.current.requests.slice(-10).map(({ body }) => body.tool_choice);
    expect(choices).toEqual([...Array.from({ length: 9 }, () => "auto"), "none"]);
  });

  test("ends in an answer even when the model calls a tool regardless", async () => {
    model.current.script(sum(1), sum(2));
    const messages = await new Conversation(toolbox().tools, { max_model_turns: 2 }).say("Add");
    const answer = lastAnswer(messages);
    expect(answer.tool_calls).toEqual([]);
    expect(answer.text).toContain("within the allowed number of steps");
    expect(answer.response_metadata["degraded"]).toEqual({ reason: "step_limit", served_by: "runtime" });
  });

  test("starts afresh with the next message on the same thread", async () => {
    const conversation = new Conversation(toolbox().tools, { max_model_turns: 2 });
    for (const round of [1, 2, 3]) {
      model.current.script(sum(round), { text: `Round ${round}.` });
      expect(lastAnswer(await conversation.say("Add")).text).toBe(`Round ${round}.`);
      expect(model.current.requests.at(-2)!.body.tool_choice).toBe("auto");
    }
  });

  test("needs no more than the recursion limit that other servers pass", async () => {
    const { tools } = toolbox();
    const conversation = new Conversation(tools);
    const pay = { calls: [{ name: "pay", args: { to: "bob", cents: 1 } }] };
    model.current.script(pay, ...Array.from({ length: 8 }, (_, a) => sum(a)), { text: "Done." });
    await conversation.say("Pay, then add");
    const messages = await conversation.answer({ type: "approve" }, { recursionLimit: 25 });
    expect(lastAnswer(messages).response_metadata["degraded"]).toMatchObject({ reason: "step_limit" });
  });

  test("lets the most turns that can be set pass without a recursion error", async () => {
    model.current.script(...Array.from({ length: 24 }, (_, a) => sum(a)), { text: "Done." });
    const messages = await new Conversation(toolbox().tools, { max_model_turns: 25 }).say("Add");
    expect(lastAnswer(messages).text).toBe("Done.");
  });
});

describe("the same call with the same arguments", () => {
  test("is refused the third time, and the model can change its mind", async () => {
    const reordered = { calls: [{ name: "add", args: { b: 0, a: 1 } }] };
    model.current.script(sum(1), reordered, sum(1), sum(2), { text: "Two, then." });
    const messages = await new Conversation(toolbox().tools).say("Add");
    expect(results(messages)).toMatchObject([{ result: 1 }, { result: 1 }, { code: "REPEATED_CALL" }, { result: 2 }]);
    expect(lastAnswer(messages).text).toBe("Two, then.");
  });

  test("ends in an answer when the model does not change", async () => {
    model.current.script(sum(1), sum(1), sum(1), sum(1), { text: "I am stuck." });
    const answer = lastAnswer(await new Conversation(toolbox().tools).say("Add"));
    expect(answer.response_metadata["degraded"]).toEqual({ reason: "repeated_call", served_by: "model" });
  });

  test("is no repetition in answer to another message", async () => {
    const conversation = new Conversation(toolbox().tools);
    for (let round = 0; round < 4; round += 1) {
      model.current.script(sum(1), { text: "One." });
      expect(results(await conversation.say("Add")).at(-1)).toMatchObject({ result: 1 });
    }
  });

  test("asks nobody when it needs approval and is refused anyway", async () => {
    const { tools, paid } = toolbox();
    const eager = tools.map((tool) => (tool.name === "pay" ? { ...tool, effect: "none" as const } : tool));
    const conversation = new Conversation(eager);
    const pay = { calls: [{ name: "pay", args: { to: "bob", cents: 1 } }] };
    model.current.script(pay, pay, pay, { text: "Enough." });
    await conversation.say("Pay");
    await conversation.answer({ type: "approve" });
    const messages = await conversation.answer({ type: "approve" });
    expect(results(messages).at(-1)).toMatchObject({ code: "REPEATED_CALL" });
    expect(paid).toHaveLength(2);
  });

  test("unreadable arguments time and again end in an answer too", async () => {
    const broken = { calls: [{ name: "add", args: "{" }] };
    model.current.script(broken, broken, broken, broken, { text: "I give up." });
    const answer = lastAnswer(await new Conversation(toolbox().tools).say("Add"));
    expect(answer.text).toBe("I give up.");
    expect(answer.response_metadata["degraded"]).toMatchObject({ reason: "repeated_call" });
  });
});
