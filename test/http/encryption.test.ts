import { type LangGraphRunnableConfig, MessagesAnnotation, StateGraph } from "@langchain/langgraph";
import { expect, test } from "vitest";
import { z } from "zod";
import { executeToolCall } from "../../nodes/execute-tool.ts";
import { defineTool } from "../../tools/index.ts";
import { testDatabase } from "../support/database.ts";
import { Log } from "../support/runs.ts";
import { testServer } from "../support/server.ts";

const SECRET = "the launch code is 0000 ".repeat(40);
const agent = new StateGraph(MessagesAnnotation)
  .addNode("say", () => ({ messages: [{ role: "ai", content: SECRET }] }))
  .addEdge("__start__", "say")
  .compile();

test("a server with a key runs, copies and prunes threads whose checkpoints nobody else reads, and one without does not start", async () => {
  await using database = await testDatabase();
  const env = { PAWL_ENCRYPTION_KEYS: "11".repeat(32) };
  {
    await using server = await testServer({ graphs: { agent }, env, database });
    const { threads, runs } = server.client;
    const { thread_id } = await threads.create();
    for (const content of ["one", "two"]) {
      await runs.wait(thread_id, "agent", { input: { messages: [{ role: "user", content }] } });
    }
    const copy = await threads.copy(thread_id);
    await fetch(`${server.url}/threads/prune`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ thread_ids: [thread_id], strategy: "keep_latest" }),
    });

    const [original, copied] = [await threads.getState(thread_id), await threads.getState(copy.thread_id)];
    expect(original.values).toMatchObject({ messages: [{}, { content: SECRET }, {}, { content: SECRET }] });
    expect(copied.values).toEqual(original.values);
    expect(await threads.getHistory(thread_id)).toHaveLength(1);
    const { rows } = await database.pool.query<{ bytes: Buffer }>(
      "select blob as bytes from checkpoint_blobs union all select blob from checkpoint_writes union all select item from checkpoint_items",
    );
    expect(rows.map(({ bytes }) => bytes.toString("latin1")).join()).not.toContain("launch");
  }

  await expect(testServer({ graphs: { agent }, database })).rejects.toMatchObject({ code: "bad_configuration" });
});

/** Calls a tool whose result is secret; `calls` are those that were made. */
function telling() {
  const calls: string[] = [];
  const tool = defineTool({
    name: "tell",
    description: "Tells the secret.",
    input: z.strictObject({}),
    effect: "irreversible",
    run: () => Promise.resolve((calls.push("tell"), SECRET)),
  });
  const graph = new StateGraph(Log)
    .addNode("call", async (_state, config: LangGraphRunnableConfig) => {
      const call = { id: "call-1", name: "tell", args: {} };
      const { messages } = await executeToolCall([tool])({ call, isRepeated: false }, config);
      return { log: messages.map(({ text }) => text.slice(0, 60)) };
    })
    .addEdge("__start__", "call")
    .compile();
  return { graph, calls };
}

test("files and results of effects are sealed to their thread, and a copy has its own", async () => {
  await using database = await testDatabase();
  const { graph, calls } = telling();
  const keys = ["11".repeat(32), "22".repeat(32)];
  const start = (...given: string[]) =>
    testServer({ graphs: { graph }, env: { PAWL_ENCRYPTION_KEYS: given.join(",") }, database });
  const stored = async () => {
    const { rows } = await database.pool.query<{ text: string }>(
      `select encode(coalesce(content, sealed), 'escape') as text from file_contents
       union all select result from effects union all select encode(decode(result, 'base64'), 'escape') from effects`,
    );
    return rows.map(({ text }) => text);
  };
  const jpeg = Buffer.concat([Buffer.of(0xff, 0xd8), Buffer.from(SECRET)]);
  const path = (thread: { thread_id: string }) => `/threads/${thread.thread_id}/files/a.jpg`;
  let copy: { thread_id: string };
  {
    await using server = await start(keys[0]!);
    const { threads, runs } = server.client;
    const thread = await threads.create();
    await fetch(server.url + path(thread), { method: "PUT", body: jpeg });
    await runs.wait(thread.thread_id, "graph", { input: {} });
    copy = await threads.copy(thread.thread_id);
    await runs.wait(thread.thread_id, "graph", { input: {} });
    expect(calls).toHaveLength(1); // the second run had the stored result
    const texts = await stored();
    expect(texts).toHaveLength(6);
    expect(texts.join()).not.toContain("launch");

    await database.pool.query(
      `update effects e set result = o.result from effects o where e.thread_id = $1 and o.thread_id = $2`,
      [thread.thread_id, copy.thread_id],
    );
    await expect(runs.wait(thread.thread_id, "graph", { input: {} })).rejects.toThrow("checkpoint_unreadable");
  }
  // Under a new key in front what was sealed under the old one is read as before.
  await using server = await start(keys[1]!, keys[0]!);
  expect(Buffer.from(await (await fetch(server.url + path(copy))).arrayBuffer())).toEqual(jpeg);
  const { log } = (await server.client.runs.wait(copy.thread_id, "graph", { input: {} })) as { log: string[] };
  expect(log.at(-1)).toContain("launch");
  expect(calls).toHaveLength(1);
});

test("a file from before there was a key is read as it is", async () => {
  await using database = await testDatabase();
  const { graph } = telling();
  const bytes = Buffer.concat([Buffer.of(0xff), Buffer.from(SECRET)]);
  let url: string;
  {
    await using server = await testServer({ graphs: { graph }, database });
    url = `/threads/${(await server.client.threads.create()).thread_id}/files/a`;
    await fetch(server.url + url, { method: "PUT", body: bytes });
  }
  await using server = await testServer({
    graphs: { graph },
    env: { PAWL_ENCRYPTION_KEYS: "11".repeat(32) },
    database,
  });
  expect(Buffer.from(await (await fetch(server.url + url)).arrayBuffer())).toEqual(bytes);
});
