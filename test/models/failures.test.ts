import { AIMessageChunk, HumanMessage } from "@langchain/core/messages";
import { END, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { expect, test } from "vitest";
import { callModel, type ModelCall } from "../../models/chat.ts";
import { scriptedModel, type ScriptedModel, type Step } from "../support/scripted-model.ts";

function ask(model: { url: string }, call: ModelCall = {}) {
  const endpoint = { baseUrl: model.url, apiKey: "none", name: "scripted", label: "test" };
  return callModel([new HumanMessage("hi")], { endpoint, timeoutMs: 5_000, ...call });
}

/** Runs the call in a streamed graph; gives the tokens that were shown on the way. */
async function stream(model: ScriptedModel, call: ModelCall = {}) {
  const graph = new StateGraph(MessagesAnnotation)
    .addNode("model", async () => ({ messages: [await ask(model, call)] }))
    .addEdge(START, "model")
    .addEdge("model", END)
    .compile();
  const shown: string[] = [];
  let error: unknown;
  try {
    for await (const [message] of await graph.stream({ messages: [] }, { streamMode: "messages" })) {
      if (AIMessageChunk.isInstance(message) && message.text !== "") shown.push(message.text);
    }
  } catch (thrown) {
    error = thrown;
  }
  return { shown, error };
}

const soon = (status: number): Step => ({ status, retryAfter: 0 });

test.each([
  [429, 6],
  [503, 4],
  [500, 4],
  [408, 3],
])("a status of %i is tried %i times, then the model is unavailable", async (status, calls) => {
  await using model = await scriptedModel([], { otherwise: soon(status) });
  await expect(ask(model)).rejects.toMatchObject({ code: "model_unavailable", facts: { status, attempts: calls } });
  expect(model.requests).toHaveLength(calls);
});

test.each([400, 401, 404, 422])("a status of %i is not tried again", async (status) => {
  await using model = await scriptedModel([soon(status)]);
  await expect(ask(model)).rejects.toMatchObject({ code: "model_error", facts: { reason: "refused", status } });
});

test("a context that is too long is told apart", async () => {
  const body = { error: { message: "This model's maximum context length is 10 tokens", code: 400 } };
  await using model = await scriptedModel([{ status: 400, body }]);
  await expect(ask(model)).rejects.toMatchObject({ code: "model_error", facts: { reason: "context_length" } });
});

test("nothing that the provider said reaches the caller", async () => {
  await using model = await scriptedModel([soon(400), { text: "a b c", errorAfter: 3 }]);
  const atOnce: unknown = await ask(model).catch((error: unknown) => error);
  const { error: streamed } = await stream(model);
  for (const error of [atOnce, streamed]) {
    expect(error).toMatchObject({ code: "model_error" });
    const { message, facts } = error as { message: string; facts: object };
    expect(message + JSON.stringify(facts)).not.toContain("provider secret");
  }
});

test("a call that fails and then succeeds is one answer", async () => {
  await using model = await scriptedModel([soon(429), soon(503), { text: "Noon." }]);
  expect((await ask(model)).text).toBe("Noon.");
});

test("Retry-After is obeyed, and a wait beyond the deadline is not begun", async () => {
  await using model = await scriptedModel([{ status: 429, retryAfter: 3_600 }]);
  await expect(ask(model)).rejects.toMatchObject({
    code: "model_unavailable",
    facts: { reason: "rate_limited", attempts: 1, retry_after_s: 3_600 },
  });
});

test("an endpoint that is not there is unavailable", async () => {
  const gone = await scriptedModel();
  const { url } = gone;
  await gone[Symbol.asyncDispose]();
  await expect(ask({ url }, { timeoutMs: 100 })).rejects.toMatchObject({
    code: "model_unavailable",
    facts: { reason: "unreachable" },
  });
});

test("an endpoint that never answers times out, and its connection is closed", async () => {
  await using model = await scriptedModel([{ hang: true }], { otherwise: { hang: true } });
  await expect(ask(model, { timeoutMs: 100 })).rejects.toMatchObject({
    code: "model_unavailable",
    facts: { reason: "timed_out" },
  });
  await model.waitForDisconnect();
});

test("a stream that falls silent times out", async () => {
  await using model = await scriptedModel([{ text: "a b c", pause: { after: 2, until: new Promise(() => {}) } }]);
  const { shown, error } = await stream(model, { timeoutMs: 200 });
  expect(shown).toEqual(["a"]);
  expect(error).toMatchObject({ code: "model_unavailable", facts: { reason: "timed_out" } });
});

test.each<[string, Step]>([
  ["is cut", { text: "a b c", cutAfter: 3 }],
  ["has an error event", { text: "a b c", errorAfter: 3 }],
  ["ends without a finish reason", { text: "a b", finishReason: null }],
])("a stream that %s after tokens were shown is an error and not tried again", async (_, step) => {
  await using model = await scriptedModel([step]);
  const { shown, error } = await stream(model);
  expect(shown).toEqual(["a", " b"]);
  expect(error).toMatchObject({ code: "model_error", facts: { reason: "broken_answer" } });
});

test("a stream that is cut before it showed anything is tried again", async () => {
  await using model = await scriptedModel([{ text: "a b c", cutAfter: 1 }, { text: "d e" }]);
  expect(await stream(model)).toEqual({ shown: ["d", " e"], error: undefined });
});

test.each<[string, Step]>([
  ["is cut", { text: "a b c", cutAfter: 1 }],
  ["has no finish reason", { text: "a b", finishReason: null }],
  ["is not JSON", { status: 200, body: "<html>" }],
])("an answer at once that %s is tried again", async (_, step) => {
  await using model = await scriptedModel([step, { text: "Noon." }]);
  expect((await ask(model)).text).toBe("Noon.");
});

test.each<[string, Step]>([
  ["waits for an answer", { hang: true }],
  ["reads a stream", { text: "a b c", pause: { after: 2, until: new Promise(() => {}) } }],
  ["waits before a retry", { status: 429, retryAfter: 10 }],
])("an abort while the call %s ends it at once with the signal's reason", async (_, step) => {
  await using model = await scriptedModel([step]);
  const controller = new AbortController();
  const call = stream(model, { signal: controller.signal });
  await model.waitForRequest();
  controller.abort(new Error("cancelled by the test"));
  expect((await call).error).toMatchObject({ message: "cancelled by the test" });
  if (!("status" in step)) await model.waitForDisconnect();
  expect(model.requests).toHaveLength(1);
});

test("cancelling the graph ends the request, though its node passes no signal on", async () => {
  await using model = await scriptedModel([{ hang: true }]);
  const graph = new StateGraph(MessagesAnnotation)
    .addNode("model", async () => ({ messages: [await ask(model)] }))
    .addEdge(START, "model")
    .addEdge("model", END)
    .compile();
  const controller = new AbortController();
  const run = graph.invoke({ messages: [] }, { signal: controller.signal });
  await model.waitForRequest();
  controller.abort(new Error("cancelled by the test"));
  await expect(run).rejects.toThrow();
  await model.waitForDisconnect();
});

test("a call that is aborted before it begins sends nothing", async () => {
  await using model = await scriptedModel();
  await expect(ask(model, { signal: AbortSignal.abort(new Error("too late")) })).rejects.toThrow("too late");
});
