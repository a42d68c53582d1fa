/** The agent behind the whole server, on a model that is scripted: what clients see while it streams, and when it breaks. */
import { createServer, connect, type Socket } from "node:net";
import { once } from "node:events";
import { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ScriptedModel } from "../support/scripted-model.ts";
import { scriptedModel } from "../support/scripted-model.ts";
import { testServer } from "../support/server.ts";

let model: ScriptedModel;
/** Loaded after the model's address is known: the configuration is read once. */
let graph: unknown;
beforeAll(async () => {
  model = await scriptedModel([]);
  process.env["MODEL_BASE_URL"] = model.url;
  process.env["MODEL_NAME"] = "scripted";
  ({ graph } = await import("../../graphs/react.ts"));
});
afterAll(async () => {
  await model[Symbol.asyncDispose]();
});

const ask = (content: string) => ({ input: { messages: [{ role: "user", content }] } });

/** A gate: what waits for it goes on when it is opened. */
function gate() {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { until: promise, open: resolve };
}

test("tokens arrive before the model has finished, under one message id", async () => {
  await using server = await testServer({ graphs: { react: graph } });
  const { client } = server;
  const { until, open } = gate();
  model.script({ text: ["The ", "answer ", "is ", "42."], pause: { after: 3, until } }); // the first chunk names the role
  const { thread_id } = await client.threads.create();
  const tokens: string[] = [];
  const ids = new Set<unknown>();
  for await (const { event, data } of client.runs.stream(thread_id, "react", {
    ...ask("?"),
    streamMode: "messages-tuple",
  })) {
    if (event !== "messages") continue;
    const [chunk] = data as unknown as [{ content: string; id: string }];
    if (chunk.content !== "") tokens.push(chunk.content);
    ids.add(chunk.id);
    if (tokens.length === 2) open(); // the model goes on only now
  }
  expect(tokens.join("")).toBe("The answer is 42.");
  const { values } = await client.threads.getState<{ messages: { id: string }[] }>(thread_id);
  expect([...ids]).toContain(values.messages.at(-1)?.id);
});

test("a model that breaks off after five tokens is an error event, the stream closes, and the thread goes on", async () => {
  await using server = await testServer({ graphs: { react: graph } });
  const { client } = server;
  model.script({ text: ["one ", "two ", "three ", "four ", "five ", "six"], cutAfter: 5 });
  const { thread_id } = await client.threads.create();
  const events: { event: string; data: unknown }[] = [];
  for await (const event of client.runs.stream(thread_id, "react", { ...ask("?"), streamMode: "messages-tuple" })) {
    events.push(event);
  }
  expect(events.at(-1)).toMatchObject({ event: "error", data: { error: "model_error" } });
  expect(await client.threads.get(thread_id)).toMatchObject({ status: "error" });
  model.script({ text: "Here I am." });
  const values = await client.runs.wait(thread_id, "react", ask("Again?"));
  expect(JSON.stringify(values)).toContain("Here I am.");
  expect(await client.threads.get(thread_id)).toMatchObject({ status: "idle" });
});

test("cancelling a run aborts the model call under way", async () => {
  await using server = await testServer({ graphs: { react: graph } });
  const { client } = server;
  const seen = model.requests.length;
  const gone = model.disconnects;
  model.script({ hang: true });
  const { thread_id } = await client.threads.create();
  const { run_id } = await client.runs.create(thread_id, "react", ask("?"));
  await model.waitForRequest(seen + 1);
  await client.runs.cancel(thread_id, run_id, true);
  await model.waitForDisconnect(gone + 1);
  expect((await client.runs.get(thread_id, run_id)).status).toBe("interrupted");
});

test("U+0000 and lone surrogates from client and model reach neither Postgres nor the end of the run", async () => {
  await using server = await testServer({ graphs: { react: graph } });
  const { client } = server;
  model.script({ text: "a\u0000b \ud800 c" });
  const { thread_id } = await client.threads.create({ metadata: { note: "x\u0000y \udfff" } });
  const values = await client.runs.wait(thread_id, "react", { ...ask("q\u0000 \ud800"), metadata: { k: "\u0000" } });
  const text = JSON.stringify(values);
  expect(text).toContain("ab \ufffd c");
  expect(text).not.toMatch(/\\u0000|\\ud800/);
  expect(await client.threads.get(thread_id)).toMatchObject({ status: "idle", metadata: { note: "xy \ufffd" } });
});

test("a model that takes longer than a proxy's idle time-out does not lose the stream: heartbeats keep it alive", async () => {
  const env = { PAWL_HEARTBEAT_SECONDS: "0.05" };
  await using server = await testServer({ graphs: { react: graph }, env });
  await using proxy = await idleProxy(server.port, 500);
  const client = new Client({ apiUrl: proxy.url, callerOptions: { maxRetries: 0 } });
  const { until, open } = gate();
  model.script({ text: "late", after: until });
  const { thread_id } = await server.client.threads.create();
  // Opened when the proxy has carried bytes for longer than it would have borne silence.
  void proxy.busyFor(1_500).then(open);
  const events: { event: string }[] = [];
  for await (const event of client.runs.stream(thread_id, "react", ask("?"))) events.push(event);
  expect(proxy.cut).toBe(0);
  expect(JSON.stringify(events.at(-1))).toContain("late");
});

/** A TCP proxy that cuts a connection on which nothing has come from the server for `idleMs`. */
async function idleProxy(port: number, idleMs: number) {
  let cut = 0;
  const started = Date.now();
  const waiters: { after: number; resolve: () => void }[] = [];
  const sockets = new Set<Socket>();
  const proxy = createServer((client) => {
    const upstream = connect(port, "127.0.0.1");
    let timer: NodeJS.Timeout | undefined;
    const rearm = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        cut += 1;
        client.destroy();
        upstream.destroy();
      }, idleMs);
    };
    client.on("data", rearm);
    upstream.on("data", () => {
      rearm();
      for (const { after, resolve } of waiters) if (Date.now() >= after) resolve();
    });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => clearTimeout(timer));
    }
    client.pipe(upstream).pipe(client);
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const address = proxy.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    get cut() {
      return cut;
    },
    /** Resolves with the first bytes from the server after `ms`. */
    busyFor: (ms: number) => new Promise<void>((resolve) => waiters.push({ after: started + ms, resolve })),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      proxy.close();
    },
  };
}
