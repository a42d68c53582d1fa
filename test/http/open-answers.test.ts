/** A server that stops while others go on: what it still tells. */
import { Annotation, StateGraph } from "@langchain/langgraph";
import { expect, test } from "vitest";
import { testDatabase } from "../support/database.ts";
import { testServer } from "../support/server.ts";

const State = Annotation.Root({ done: Annotation<string> });

/** Ends when it is let. */
function gated() {
  const gate = Promise.withResolvers<void>();
  const graph = new StateGraph(State)
    .addNode("wait", async () => {
      await gate.promise;
      return { done: "yes" };
    })
    .addEdge("__start__", "wait")
    .compile();
  return { graph, open: () => gate.resolve() };
}

async function post(url: string, path: string, body: object): Promise<Response> {
  const headers = { "content-type": "application/json" };
  return fetch(`${url}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
}

/** All that came until the connection was cut. */
async function readUntilCut(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  try {
    for await (const chunk of response.body!) text += decoder.decode(chunk as Uint8Array, { stream: true });
  } catch {
    // cut without an end
  }
  return text;
}

test("a stream that has told no event is not cut before it has: else its reader would not know where it was", async () => {
  await using database = await testDatabase();
  const { graph, open } = gated();
  await using working = await testServer({ graphs: { gated: graph }, database });
  const stopping = await testServer({ graphs: { gated: graph }, works: false, database });
  const { thread_id } = await working.client.threads.create();
  await working.client.runs.create(thread_id, "gated", { input: {} });
  const body = { assistant_id: "gated", input: {}, multitask_strategy: "enqueue", stream_mode: ["updates"] };
  const stream = await post(stopping.url, `/threads/${thread_id}/runs/stream`, body);
  const text = readUntilCut(stream);
  const closed = stopping.close(15_000);
  open();
  expect(await text).toMatch(/^event: metadata\n.*\nid: \d+$/m);
  await closed;
});

test("whoever waits for a run that ends elsewhere is still told how", async () => {
  await using database = await testDatabase();
  const { graph, open } = gated();
  await using _working = await testServer({ graphs: { gated: graph }, database });
  const stopping = await testServer({ graphs: { gated: graph }, works: false, database });
  const waiting = await post(stopping.url, "/runs/wait", { assistant_id: "gated", input: {} });
  const closed = stopping.close(15_000);
  open();
  expect(await waiting.json()).toMatchObject({ done: "yes" });
  await closed;
});
