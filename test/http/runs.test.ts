/** What HTTP makes of a run: headers, frames, heartbeats, and the moment when it stops being allowed to fail. */
import { Client } from "@langchain/langgraph-sdk";
import { expect, test } from "vitest";
import { PawlError } from "../../lib/errors.ts";
import type { RunOutcome } from "../../runs/index.ts";
import { runRoutes } from "../../server/runs.ts";
import { silent } from "../support/database.ts";
import { RunsInMemory } from "../support/runs-in-memory.ts";
import { serve, testApp } from "../support/serve.ts";

const never = new AbortController().signal;

function given({ heartbeatSeconds = 60, closing = never } = {}) {
  const runs = new RunsInMemory();
  const app = testApp({ routes: [runRoutes({ runs, log: silent, heartbeatSeconds, closing })] });
  const { run_id: runId, thread_id: threadId } = runs.run;
  const post = (path: string, body: unknown = { assistant_id: "agent" }) =>
    app.request(path, { method: "POST", body: JSON.stringify(body) });
  return { runs, app, post, runId, threadId };
}

test("an answer names the run and where its stream goes on, as paths", async () => {
  const { post, runId, threadId } = given();
  for (const kind of ["", "/stream", "/wait"]) {
    const onThread = await post(`/threads/${threadId}/runs${kind}`);
    expect(onThread.headers.get("content-location")).toBe(`/threads/${threadId}/runs/${runId}`);
    expect(onThread.headers.get("location")).toBe(`/threads/${threadId}/runs/${runId}/stream`);
    const stateless = await post(`/runs${kind}`);
    expect(stateless.headers.get("content-location")).toBe(`/runs/${runId}`);
    expect(stateless.headers.get("location")).toBe(`/runs/${runId}/stream`);
  }
});

test("a stream begins with a heartbeat, and each event has its name, its data on one line and its id", async () => {
  const { runs, post } = given();
  runs.events_ = [
    { id: "7", event: "metadata", data: { run_id: runs.run.run_id, attempt: 1 } },
    { id: "8", event: "values|child:1", data: { text: "two\nlines" } },
  ];
  const response = await post("/runs/stream");
  expect(response.status).toBe(200);
  expect(Object.fromEntries(response.headers)).toMatchObject({
    "content-type": "text/event-stream",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
  });
  expect(await response.text()).toBe(
    `: heartbeat\nevent: metadata\ndata: {"run_id":"${runs.run.run_id}","attempt":1}\nid: 7\n\n` +
      'event: values|child:1\ndata: {"text":"two\\nlines"}\nid: 8\n\n',
  );
});

async function severalHeartbeats(body: NonNullable<Response["body"]>): Promise<void> {
  let text = "";
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if ((text.match(/: heartbeat/g) ?? []).length > 3) return;
  }
}

test("heartbeats go on while a run is silent, and the stock client sees nothing of them", async () => {
  const { runs, app, threadId } = given({ heartbeatSeconds: 0.02 });
  runs.events_ = [{ id: "1", event: "values", data: { n: 1 } }];
  const { promise, resolve } = Promise.withResolvers<RunOutcome>();
  runs.end = promise;
  await using server = await serve(app);

  /** The run ends once a few of them have come in. */
  const listening = async (...request: Parameters<typeof fetch>): Promise<Response> => {
    const response = await fetch(...request);
    const [read, watched] = response.body!.tee();
    void severalHeartbeats(watched).then(() => resolve({ status: "success", values: null }));
    return new Response(read, response);
  };
  const client = new Client({ apiUrl: server.url, callerOptions: { fetch: listening } });
  const seen: unknown[] = [];
  for await (const part of client.runs.stream(threadId, "agent")) seen.push(part);
  expect(seen).toEqual([{ id: "1", event: "values", data: { n: 1 } }]);
});

test("the creator of a run gets its events from the beginning, a joiner those after the id it names", async () => {
  const { runs, app, post, runId } = given();
  const seen: unknown[] = [];
  runs.calls.on("events", ({ after }: { after?: string }) => seen.push(after));
  await (await post("/runs/stream")).text();
  await app.request(`/runs/${runId}/stream`, { headers: { "last-event-id": "17" } });
  await app.request(`/runs/${runId}/stream`);
  expect(seen).toEqual(["-1", "17", undefined]);
});

test("a joiner gets the modes it asks for, and what belongs to every stream", async () => {
  const { runs, app, runId } = given();
  const events = [
    "metadata",
    "values",
    "updates|a:1",
    "messages",
    "messages/partial",
    "messages|a:1",
    "custom",
    "error",
  ];
  runs.events_ = events.map((event, index) => ({ id: String(index), event, data: null }));
  const seenWith = async (query: string) => {
    const text = await (await app.request(`/runs/${runId}/stream?${query}`)).text();
    return [...text.matchAll(/^event: (.*)$/gm)].map(([, name]) => name);
  };
  expect(await seenWith("")).toEqual(events);
  expect(await seenWith(`stream_mode=${encodeURIComponent('["updates"]')}`)).toEqual([
    "metadata",
    "updates|a:1",
    "error",
  ]);
  expect(await seenWith("stream_mode=messages")).toEqual(["metadata", "messages/partial", "error"]);
  expect(await seenWith("stream_mode=values,messages-tuple")).toEqual([
    "metadata",
    "values",
    "messages",
    "messages|a:1",
    "error",
  ]);
  expect((await app.request(`/runs/${runId}/stream?stream_mode=pictures`)).status).toBe(422);
});

test("an unknown run is a 404 before any stream or waiting begins", async () => {
  const { app, threadId } = given();
  const other = crypto.randomUUID();
  for (const path of ["stream", "join", ""]) {
    const response = await app.request(`/threads/${threadId}/runs/${other}/${path}`.replace(/\/$/, ""));
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ code: "run_not_found" });
  }
});

test("once a run is accepted, a failure is an event of the stream and never a status", async () => {
  const { runs, post } = given();
  runs.events = async () => {
    throw new Error("select secret from internals");
  };
  const response = await post("/runs/stream");
  expect(response.status).toBe(200);
  expect(await response.text()).toBe(
    ': heartbeat\nevent: error\ndata: {"error":"internal","message":"Internal error"}\n\n',
  );
});

test("a stream that breaks off says so behind the events that got through", async () => {
  const { runs, post } = given();
  runs.events_ = [{ id: "1", event: "values", data: {} }];
  runs.failure = new PawlError("database_unavailable", "The database cannot be reached");
  const text = await (await post("/runs/stream")).text();
  expect(text).toMatch(/event: values[^]*event: error\ndata: {"error":"database_unavailable"/);
});

test("waiting gives JSON behind white space, the values or the error of the run", async () => {
  const { runs, app, post, runId, threadId } = given();
  const response = await post("/runs/wait");
  expect(response.headers.get("content-type")).toBe("application/json");
  const text = await response.text();
  expect(text).toMatch(/^\n+{/);
  expect(JSON.parse(text)).toEqual({ answer: 42 });

  runs.end = Promise.resolve({ status: "error", values: {}, error: { error: "CustomError", message: "Boo!" } });
  const failed = await app.request(`/threads/${threadId}/runs/${runId}/join`);
  expect(failed.status).toBe(200);
  expect(await failed.json()).toEqual({ __error__: { error: "CustomError", message: "Boo!" } });
});

test("waiting that breaks off after the run was accepted is a 200 with the error", async () => {
  const { runs, post } = given();
  runs.end = Promise.reject(new Error("secret"));
  const response = await post("/runs/wait");
  expect(response.status).toBe(200);
  expect(await response.json()).toEqual({ __error__: { error: "internal", message: "Internal error" } });
});

test("cancel tells wait=0 from wait=1, and keeps to its action", async () => {
  const { runs, app, runId, threadId } = given();
  const seen: unknown[] = [];
  runs.calls.on("cancel", (options: unknown) => seen.push(options));
  const cancel = async (query: string) => {
    const path = `/threads/${threadId}/runs/${runId}/cancel?${query}`;
    return (await app.request(path, { method: "POST" })).status;
  };
  expect(await cancel("wait=0&action=rollback")).toBe(202);
  expect(await cancel("wait=1")).toBe(204);
  expect(await cancel("wait=true")).toBe(204);
  expect(await cancel("wait=maybe")).toBe(422);
  expect(seen).toEqual([
    { action: "rollback" },
    { action: "interrupt", wait: expect.any(AbortSignal) },
    { action: "interrupt", wait: expect.any(AbortSignal) },
  ]);
});

test("many runs are cancelled by their ids, or none if one is unknown", async () => {
  const { runs, post, runId, threadId } = given();
  const seen: unknown[] = [];
  runs.calls.on("cancel", (options: unknown) => seen.push(options));
  expect((await post("/runs/cancel", { thread_id: threadId, run_ids: [runId, crypto.randomUUID()] })).status).toBe(404);
  expect(seen).toEqual([]);
  expect((await post("/runs/cancel?action=rollback", { thread_id: threadId, run_ids: [runId] })).status).toBe(204);
  expect(seen).toEqual([{ action: "rollback" }]);
  expect((await post("/runs/cancel", {})).status).toBe(422);
});

test("a batch comes in the stock client's camel case, and each of its items is a request of its own", async () => {
  const { runs, app } = given();
  await using server = await serve(app);
  await new Client({ apiUrl: server.url }).runs.createBatch([
    { assistantId: "one", multitaskStrategy: "reject" },
    { assistantId: "one", multitaskStrategy: "reject" },
  ]);
  expect(runs.created.map(({ body }) => body)).toMatchObject([
    { assistant_id: "one", multitask_strategy: "reject" },
    { assistant_id: "one", multitask_strategy: "reject" },
  ]);
  const [first, second] = runs.created.map(({ options }) => options.digest);
  expect(first?.equals(second!)).toBe(false);
});

test("a batch with one bad item creates none", async () => {
  const { runs, post } = given();
  expect((await post("/runs/batch", [{ assistant_id: "a" }, { assistant_id: 7 }])).status).toBe(422);
  expect(runs.created).toEqual([]);
});

test("of a batch that breaks off no answer counts as delivered, so that its next try finds the runs that are there", async () => {
  const { runs, post } = given();
  const answered: unknown[] = [];
  runs.calls.on("answered", (wasDelivered) => answered.push(wasDelivered));
  runs.whileCreating = async () => {
    if (runs.created.length === 1) throw new PawlError("database_unavailable", "gone");
  };
  expect((await post("/runs/batch", [{ assistant_id: "a" }, { assistant_id: "b" }])).status).toBe(503);
  expect(answered).toEqual([false]);
});

test("equal POSTs to one place have one digest; another thread or body has another", async () => {
  const { runs, post, threadId } = given();
  await post(`/threads/${threadId}/runs/stream`);
  await post(`/threads/${threadId}/runs/stream`);
  await post(`/threads/${crypto.randomUUID()}/runs/stream`);
  await post(`/threads/${threadId}/runs/stream`, { assistant_id: "agent", input: 1 });
  const digests = runs.created.map(({ options }) => options.digest?.toString("hex"));
  expect(digests[0]).toBe(digests[1]);
  expect(new Set(digests).size).toBe(3);
});

test("an idempotency key goes along, and an endless one is refused", async () => {
  const { runs, app } = given();
  const post = (key: string) =>
    app.request("/runs", { method: "POST", headers: { "idempotency-key": key }, body: '{"assistant_id":"agent"}' });
  expect((await post("order-17")).status).toBe(200);
  expect(runs.created[0]?.options.idempotencyKey).toBe("order-17");
  expect((await post("x".repeat(256))).status).toBe(422);
});

test("a list is shaped by limit, offset, status and select, and nothing else is let through", async () => {
  const { runs, app, threadId, runId } = given();
  const seen: unknown[] = [];
  runs.calls.on("list", (page: unknown) => seen.push(page));
  const list = (query: string) => app.request(`/threads/${threadId}/runs?${query}`);
  expect(await (await list("limit=5&offset=2&status=success&select=run_id,status")).json()).toEqual([
    { run_id: runId, status: "pending" },
  ]);
  await list("");
  expect(seen).toEqual([
    { limit: 5, offset: 2, status: "success" },
    { limit: 10, offset: 0 },
  ]);
  for (const bad of ["limit=0", "limit=1e9", "offset=-1", "status=asleep", "select=secrets"]) {
    expect((await list(bad)).status).toBe(422);
  }
});

test("ids that are no UUIDs, and routes that do not exist, are told apart", async () => {
  const { app } = given();
  expect((await app.request("/threads/mine/runs")).status).toBe(422);
  const response = await app.request("/runs/crons", { method: "POST" });
  expect(response.status).toBe(404);
  expect(await response.json()).toEqual({ detail: "There is no POST /runs/crons", code: "route_not_found" });
});

test("a reader that does not read makes the run's events wait, not the memory grow", async () => {
  const { runs, app, runId } = given();
  let made = 0;
  const released = Promise.withResolvers<void>();
  const page = "x".repeat(64 * 1_024);
  runs.events = async () =>
    (async function* () {
      try {
        for (; made < 2_000; made += 1) yield { id: String(made), event: "values", data: page };
      } finally {
        released.resolve();
      }
    })();
  await using server = await serve(app);
  const response = await fetch(`${server.url}/runs/${runId}/stream`);
  const reader = response.body!.getReader();
  await reader.read();
  // Nobody reads: the production stops by itself once the socket's buffers are full. It could have gone on while other
  // requests went to the server and back.
  let before = -1;
  while (before !== made) {
    before = made;
    for (let i = 0; i < 20; i += 1) await (await fetch(`${server.url}/nothing`)).text();
  }
  expect(made).toBeLessThan(1_000);
  await reader.cancel();
  await released.promise; // who leaves without having read leaves nothing behind
});
