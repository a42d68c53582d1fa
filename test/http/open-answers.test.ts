/** A server that stops while others go on: what it still tells. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import { Annotation, StateGraph } from "@langchain/langgraph";
import { Hono } from "hono";
import { expect, test } from "vitest";
import type { ServerEnv } from "../../server/app.ts";
import { OpenAnswers } from "../../server/open-answers.ts";
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

test("an answer that begins while the server waits for others is waited for too", async () => {
  const answers = new OpenAnswers();
  const gates = [0, 1, 2].map(() => Promise.withResolvers<void>());
  const begun = [0, 1, 2].map(() => Promise.withResolvers<void>());
  const app = new Hono<ServerEnv>().get("/:n", async (c) => {
    const n = Number(c.req.param("n"));
    answers.add(c);
    begun[n]?.resolve();
    await gates[n]?.promise;
    return c.text("told");
  });
  const server = createAdaptorServer({ fetch: app.fetch }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const ask = async (n: number): Promise<string> =>
    (await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/${n}`)).text();

  const first = ask(0);
  await begun[0]?.promise;
  let isSettled = false;
  const settled = answers.settled(60_000).then(() => (isSettled = true));
  const second = ask(1);
  await begun[1]?.promise;
  gates[0]?.resolve();
  await first;
  gates[2]?.resolve();
  await ask(2); // by now the server knows that the first has gone out
  expect(isSettled).toBe(false);
  gates[1]?.resolve();
  expect(await second).toBe("told");
  await settled;
  server.close();
});
