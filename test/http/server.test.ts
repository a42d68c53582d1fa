/** The stock client against the whole server: HTTP, queue, worker and Postgres are the real ones. */
import { Annotation, interrupt, StateGraph } from "@langchain/langgraph";
import { Client } from "@langchain/langgraph-sdk";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { requestText, sendRaw } from "../support/serve.ts";
import { testServer } from "../support/server.ts";

const State = Annotation.Root({ count: Annotation<number>, answer: Annotation<unknown> });

const counting = new StateGraph(State)
  .addNode("one", ({ count }) => ({ count: count + 1 }))
  .addNode("two", ({ count }) => ({ count: count + 1 }))
  .addEdge("__start__", "one")
  .addEdge("one", "two")
  .compile();

const asking = new StateGraph(State)
  .addNode("ask", () => ({ answer: interrupt("Are you sure?") }))
  .addEdge("__start__", "ask")
  .compile();

const failing = new StateGraph(State)
  .addNode("fail", () => {
    throw new TypeError("Boo!");
  })
  .addEdge("__start__", "fail")
  .compile();

/** Goes on until it is aborted. */
const endless = new StateGraph(State)
  .addNode("wait", async (_state, { signal }) => {
    await delay(600_000, undefined, { signal });
    return {};
  })
  .addEdge("__start__", "wait")
  .compile();

const graphs = { counting, asking, failing, endless };

test("a run is streamed, ends, and leaves its thread idle with the values", async () => {
  await using server = await testServer({ graphs });
  const { client } = server;
  const { thread_id } = await client.threads.create();
  const events = [];
  for await (const event of client.runs.stream(thread_id, "counting", {
    input: { count: 1 },
    streamMode: ["values", "updates"],
  })) {
    events.push(event);
  }
  expect(events[0]).toMatchObject({ event: "metadata", data: { attempt: 1 } });
  expect(events.at(-1)).toMatchObject({ event: "values", data: { count: 3 } });
  expect(events.every(({ id }) => id !== undefined)).toBe(true);
  expect(await client.threads.get(thread_id)).toMatchObject({ status: "idle", values: { count: 3 } });
});

test("waiting gives the values, and a failed run its error", async () => {
  await using server = await testServer({ graphs });
  const { client } = server;
  const { thread_id } = await client.threads.create();
  expect(await client.runs.wait(thread_id, "counting", { input: { count: 5 } })).toMatchObject({ count: 7 });
  await expect(client.runs.wait(thread_id, "failing", { input: {} })).rejects.toThrow("Boo!");
  expect((await client.threads.get(thread_id)).status).toBe("error");
  expect(await client.runs.wait(null, "counting", { input: { count: 0 } })).toMatchObject({ count: 2 });
});

test("a question is answered by a second run", async () => {
  await using server = await testServer({ graphs });
  const { client } = server;
  const { thread_id } = await client.threads.create();
  expect(await client.runs.wait(thread_id, "asking", { input: {} })).toMatchObject({
    __interrupt__: [{ value: "Are you sure?" }],
  });
  expect((await client.threads.get(thread_id)).status).toBe("interrupted");
  expect(await client.runs.wait(thread_id, "asking", { command: { resume: "yes" } })).toMatchObject({ answer: "yes" });
});

test("who is unknown is a 404, with the words that clients look for", async () => {
  await using server = await testServer({ graphs, works: false });
  const { client } = server;
  const { thread_id } = await client.threads.create();
  await expect(client.runs.create(thread_id, "nobody")).rejects.toThrow(/HTTP 404.*No assistant found for/);
  await expect(client.runs.create(crypto.randomUUID(), "counting")).rejects.toThrow(/HTTP 404/);
  await expect(client.runs.get(thread_id, crypto.randomUUID())).rejects.toThrow(/HTTP 404/);
});

test("a run is cancelled, and waiting for that means that it is over", async () => {
  await using server = await testServer({ graphs });
  const { client } = server;
  const { thread_id } = await client.threads.create();
  const { run_id } = await client.runs.create(thread_id, "endless", { input: {} });
  await client.runs.cancel(thread_id, run_id, true);
  expect((await client.runs.get(thread_id, run_id)).status).toBe("interrupted");
});

test("a client that leaves a stream with on_disconnect=cancel ends the run", async () => {
  await using server = await testServer({ graphs });
  const { client } = server;
  const { thread_id } = await client.threads.create();
  const leave = new AbortController();
  const stream = client.runs.stream(thread_id, "endless", {
    input: {},
    onDisconnect: "cancel",
    signal: leave.signal,
  });
  const { value } = await stream[Symbol.asyncIterator]().next();
  const { run_id } = value!.data as { run_id: string };
  leave.abort();
  await client.runs.join(thread_id, run_id);
  expect((await client.runs.get(thread_id, run_id)).status).toBe("interrupted");
});

test("a POST that is sent again because its answer was lost finds the first run and all its events", async () => {
  await using server = await testServer({ graphs });
  const { client, port } = server;
  const { thread_id } = await client.threads.create();
  const body = JSON.stringify({ assistant_id: "counting", input: { count: 1 } });
  const path = `/threads/${thread_id}/runs/stream`;
  const { socket } = await sendRaw(port, requestText(`POST ${path}`, { "Content-Type": "application/json" }, body));
  const closed = once(socket, "close");
  socket.resetAndDestroy();
  await closed;
  // The SDK waits a second before it tries again; the first POST has been dealt with by then.
  await expect.poll(() => client.runs.list(thread_id)).toHaveLength(1);
  const again = await fetch(`${server.url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
  });
  const text = await again.text();
  expect(text).toMatch(/event: metadata/);
  expect(text).toMatch(/event: values\ndata: \{"count":3\}/);
  expect(await client.runs.list(thread_id)).toHaveLength(1);
});

test("equal runs that are asked for at the same time, or one after the other, are runs of their own", async () => {
  await using server = await testServer({ graphs, works: false });
  const { client } = server;
  const { thread_id } = await client.threads.create();
  const create = () => client.runs.create(thread_id, "counting", { input: { count: 1 } });
  const runs = await Promise.all([create(), create(), create()]);
  runs.push(await create());
  expect(new Set(runs.map(({ run_id }) => run_id)).size).toBe(4);
});

test("a reconnecting reader gets what came after the last event it has seen", async () => {
  await using server = await testServer({ graphs });
  const { client } = server;
  const { thread_id } = await client.threads.create();
  const source: { id?: string }[] = [];
  let runId = "";
  const stream = client.runs.stream(thread_id, "counting", {
    input: { count: 1 },
    streamResumable: true,
    onRunCreated: ({ run_id }) => (runId = run_id),
  });
  for await (const event of stream) source.push(event as { id?: string });
  const read = async (lastEventId: string) => {
    const events = [];
    for await (const event of client.runs.joinStream(thread_id, runId, { lastEventId })) events.push(event);
    return events;
  };
  expect(await read("-1")).toEqual(source);
  expect(await read(source[1]!.id!)).toEqual(source.slice(2));
});

test("tables are emptied only where the operator allowed it", async () => {
  await using closed = await testServer({ graphs, works: false });
  expect((await fetch(`${closed.url}/internal/truncate`, { method: "POST", body: "{}" })).status).toBe(404);
  await using open = await testServer({ graphs, env: { PAWL_INTERNAL_ROUTES: "true" } });
  const client = new Client({ apiUrl: open.url });
  const { thread_id } = await client.threads.create();
  await client.runs.wait(thread_id, "counting", { input: { count: 1 } });
  const body = JSON.stringify({ runs: true, threads: true, assistants: true, checkpointer: true });
  expect((await fetch(`${open.url}/internal/truncate`, { method: "POST", body })).status).toBe(200);
  await expect(client.threads.get(thread_id)).rejects.toThrow(/HTTP 404/);
  expect(await client.assistants.search()).toHaveLength(Object.keys(graphs).length);
  const { rows } = await open.database.pool.query("select from checkpoints");
  expect(rows).toEqual([]);
});

test("the server is ready with the built-in model, and answers a check of its database", async () => {
  await using server = await testServer({ graphs });
  expect(await (await fetch(`${server.url}/ok?check_db=1`)).json()).toEqual({ ok: true });
  expect(await (await fetch(`${server.url}/ready`)).json()).toMatchObject({ ready: true });
});

test("an id in a path that is none is refused by its name, U+0000 included", async () => {
  await using server = await testServer({ graphs });
  const { client, url } = server;
  const { thread_id } = await client.threads.create();
  await client.runs.wait(thread_id, "counting", { input: {} });
  const [run] = await client.runs.list(thread_id);
  const paths = [
    [`/runs/${run!.run_id}%00/stream`, "run_id"],
    [`/threads/${thread_id}%00/state`, "thread_id"],
    [`/threads/${thread_id}/state/%00`, "checkpoint_id"],
  ] as const;
  for (const [path, name] of paths) {
    const response = await fetch(url + path);
    expect(response.status, path).toBe(422);
    expect(await response.json()).toMatchObject({ code: "invalid_input", issues: [{ path: [name] }] });
  }
});
