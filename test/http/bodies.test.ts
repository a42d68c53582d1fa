/** What a body may be, and what becomes of one that may not. */
import { expect, test } from "vitest";
import { runRoutes } from "../../server/runs.ts";
import { silent } from "../support/database.ts";
import { RunsInMemory } from "../support/runs-in-memory.ts";
import { requestText, sendRaw, serve, testApp } from "../support/serve.ts";

const { signal } = new AbortController();

function given() {
  const runs = new RunsInMemory();
  const app = testApp({ routes: [runRoutes({ runs, log: silent, heartbeatSeconds: 5, closing: signal })] });
  const post = (body: string, headers: Record<string, string> = {}) =>
    app.request("/runs", { method: "POST", headers, body });
  return { runs, app, post };
}

test.each(["application/json", "application/json; charset=utf-8", "text/plain;charset=UTF-8", "application/x+json"])(
  "%s is read as JSON",
  async (type) => {
    const { runs, post } = given();
    expect((await post('{"assistant_id":"agent","input":{"a":1}}', { "content-type": type })).status).toBe(200);
    expect(runs.created[0]?.body).toMatchObject({ assistant_id: "agent", input: { a: 1 } });
  },
);

test("a body without a type is read as JSON", async () => {
  const { app } = given();
  const body = new TextEncoder().encode('{"assistant_id":"agent"}');
  expect((await app.request("/runs", { method: "POST", body })).status).toBe(200);
});

test("a form is refused with its type", async () => {
  const response = await given().post("a=1", { "content-type": "application/x-www-form-urlencoded" });
  expect(response.status).toBe(415);
  expect(await response.json()).toMatchObject({ code: "unsupported_media_type" });
});

test.each(["{", "{'a':1}", "undefined", '{"assistant_id":"agent"} x'])("%j is no JSON", async (body) => {
  const response = await given().post(body);
  expect(response.status).toBe(422);
  expect(await response.json()).toMatchObject({ code: "invalid_json", detail: expect.any(String) });
});

test("a body that nests without end is refused, however deep", async () => {
  const { post } = given();
  for (const depth of [501, 25_000]) {
    const response = await post(`{"assistant_id":"agent","input":${"[".repeat(depth)}${"]".repeat(depth)}}`);
    expect(response.status).toBe(422);
  }
});

test("what does not fit says where", async () => {
  const response = await given().post('{"assistant_id":"agent","config":{"recursion_limit":"many"}}');
  expect(response.status).toBe(422);
  expect(await response.json()).toMatchObject({
    code: "invalid_input",
    detail: expect.stringContaining("config.recursion_limit"),
    issues: [{ path: ["config", "recursion_limit"] }],
  });
});

test("text that Postgres cannot keep is cleaned on the way in", async () => {
  const { runs, post } = given();
  await post('{"assistant_id":"agent","input":{"a\\u0000":"x\\u0000y\\ud800"}}');
  expect(runs.created[0]?.body.input).toEqual({ a: "xy\ufffd" });
});

test("a body over the limit is refused by its announced length, before it is read", async () => {
  await using server = await serve(given().app);
  const { until } = await sendRaw(server.port, requestText("POST /runs", { "Content-Length": "70000" }));
  expect(await until(/body_too_large/)).toMatch(/^HTTP\/1.1 413 /);
});

test("a body over the limit that never says how long it is gets no further than the limit", async () => {
  const { app, runs } = given();
  await using server = await serve(app);
  const chunk = `4000\r\n${"x".repeat(0x4000)}\r\n`;
  const { until } = await sendRaw(
    server.port,
    requestText("POST /runs", { "Transfer-Encoding": "chunked" }) + chunk.repeat(6),
  );
  expect(await until(/body_too_large/)).toMatch(/^HTTP\/1.1 413 /);
  expect(runs.created).toEqual([]);
});

test("a body sent in chunks is read like any other", async () => {
  const { app, runs } = given();
  await using server = await serve(app);
  const body = '{"assistant_id":"agent"}';
  const head = requestText("POST /runs", { "Transfer-Encoding": "chunked", "Content-Type": "application/json" });
  const { until } = await sendRaw(server.port, `${head}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`);
  expect(await until(/run_id/)).toMatch(/^HTTP\/1.1 200 /);
  expect(runs.created).toHaveLength(1);
});

test("a client that goes in the middle of its body leaves nothing behind and breaks nothing", async () => {
  const { app, runs } = given();
  await using server = await serve(app);
  const { socket } = await sendRaw(server.port, requestText("POST /runs", { "Content-Length": "100" }) + '{"assist');
  socket.destroy();
  const response = await fetch(`${server.url}/runs`, { method: "POST", body: '{"assistant_id":"agent"}' });
  expect(response.status).toBe(200);
  expect(runs.created).toHaveLength(1);
});

test("a GET may say that its absent body is JSON", async () => {
  const { app, runs } = given();
  const path = `/threads/${runs.run.thread_id}/runs/${runs.run.run_id}`;
  expect((await app.request(path, { headers: { "content-type": "application/json" } })).status).toBe(200);
});
