/** The scripted model is what other tests believe in, so it is tested too. */
import { type BaseMessage, HumanMessage, ToolMessage } from "@langchain/core/messages";
import { expect, test } from "vitest";
import { callModel } from "../../models/chat.ts";
import { scriptedModel, type ScriptedModel } from "../support/scripted-model.ts";

const question: BaseMessage[] = [new HumanMessage("hi")];

const ask = (model: ScriptedModel, messages = question, signal = new AbortController().signal) =>
  callModel(messages, { endpoint: { baseUrl: model.url, apiKey: "none", name: "scripted", label: "test" }, signal });

const dispose = (model: ScriptedModel) => model[Symbol.asyncDispose]();

test("a call beyond the script fails, and fails the test on disposal", async () => {
  const model = await scriptedModel([{ text: "one" }]);
  await ask(model);
  await expect(ask(model)).rejects.toMatchObject({ code: "model_error" });
  await expect(dispose(model)).rejects.toThrow("call 2: not in the script");
});

test("an invalid history is refused, and fails the test on disposal", async () => {
  const model = await scriptedModel([], { otherwise: { text: "one" } });
  const orphan = new ToolMessage({ tool_call_id: "call_1", content: "" });
  await expect(ask(model, [...question, orphan])).rejects.toMatchObject({ code: "model_error" });
  await expect(dispose(model)).rejects.toThrow('answers "call_1" where no tool call is open');
});

test("a step can depend on the request, and steps can be added", async () => {
  await using model = await scriptedModel([({ body }) => ({ text: `You said ${String(body.messages[0]?.content)}` })]);
  model.script({ text: "two" });
  expect((await ask(model)).text).toBe("You said hi");
  expect((await ask(model)).text).toBe("two");
});

test("requests are recorded for good", async () => {
  await using model = await scriptedModel([{ text: "one" }]);
  const call = ask(model);
  const request = await model.waitForRequest();
  expect(() => Object.assign(request.body, { model: "other" })).toThrow(TypeError);
  await call;
});

test("a gate holds the answer back until the test opens it", async () => {
  const gate = Promise.withResolvers<void>();
  await using model = await scriptedModel([{ text: "one", after: gate.promise }, { text: "two" }]);
  const held = ask(model);
  await model.waitForRequest(1);
  expect((await ask(model)).text).toBe("two");
  gate.resolve();
  expect((await held).text).toBe("one");
});

test("a client that goes away is counted, an answered one is not", async () => {
  await using model = await scriptedModel([{ text: "one" }, { hang: true }]);
  await ask(model);
  const controller = new AbortController();
  const call = ask(model, question, controller.signal);
  await model.waitForRequest(2);
  controller.abort(new Error("gone"));
  await expect(call).rejects.toThrow("gone");
  await model.waitForDisconnect();
  expect(model.disconnects).toBe(1);
});
