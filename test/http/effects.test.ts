/** `GET /effects`: who looks for what is unknown finds it, and with it what is needed to decide. */
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { StateGraph } from "@langchain/langgraph";
import { beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { jsonDigest } from "../../lib/digest.ts";
import { executeToolCall } from "../../nodes/execute-tool.ts";
import { listEffects, type EffectPage } from "../../runs/effects/list.ts";
import { defineTool } from "../../tools/index.ts";
import { Log } from "../support/runs.ts";
import { type TestServer, testServer } from "../support/server.ts";

const args = { to: "bob" };
/** Its connection breaks after it was sent. */
const wire = defineTool({
  name: "wire",
  description: "Wires money.",
  input: z.strictObject({ to: z.string() }),
  effect: "irreversible",
  timeoutMs: 1_000,
  run: () => Promise.reject(new Error("socket closed")),
});

const graph = new StateGraph(Log)
  .addNode("call", async (_state, config: LangGraphRunnableConfig) => {
    const call = { id: "call-1", name: "wire", args };
    const { messages } = await executeToolCall([wire])({ call, isRepeated: false }, config);
    return { log: messages.map((message) => message.text) };
  })
  .addEdge("__start__", "call")
  .compile();

let server: TestServer;
beforeEach(async () => {
  server = await testServer({ graphs: { graph } });
  return () => server[Symbol.asyncDispose]();
});

async function sendOne(): Promise<string> {
  const { thread_id } = await server.client.threads.create();
  await server.client.runs.wait(thread_id, "graph", { input: {} });
  return thread_id;
}

async function list(query = ""): Promise<EffectPage> {
  const response = await fetch(`${server.url}/effects${query}`);
  expect(response.status).toBe(200);
  return (await response.json()) as EffectPage;
}

async function figure(): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return Number(/^pawl_unknown_effects (\d+)$/m.exec(text)?.[1]);
}

const answer = (thread_id: string, resume: unknown) =>
  server.client.runs.wait(thread_id, "graph", { command: { resume } });

test("an effect of unknown outcome is listed with what is known of it, and the question by which it is decided", async () => {
  const threadId = await sendOne();
  const { effects, next } = await list();
  expect(next).toBeNull();
  const digest = jsonDigest(args);
  expect(effects).toEqual([
    {
      thread_id: threadId,
      key: `call-1:${digest}`,
      run_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      name: "wire",
      kind: "irreversible",
      tool_call_id: "call-1",
      args_digest: digest,
      idempotency_key: `${threadId}:call-1:${digest}`,
      attempt: 1,
      dispatched_at: expect.stringMatching(/Z$/),
      deadline: expect.stringMatching(/Z$/),
      settled_at: expect.stringMatching(/Z$/),
      interrupt_id: expect.stringMatching(/^[0-9a-f]{32}$/),
      answers: [],
    },
  ]);
  expect(await figure()).toBe(1);

  await answer(threadId, { [effects[0]!.interrupt_id!]: { type: "happened", result: "receipt 7" } });
  expect(await list()).toEqual({ effects: [], next: null });
  expect((await list("?state=committed")).effects).toMatchObject([
    { thread_id: threadId, interrupt_id: null, answers: [{ decision: "happened", refusal: null, attempt: 1 }] },
  ]);
  expect(await figure()).toBe(0);
});

test("an answer that did not count leaves it open, with the question that came after", async () => {
  const threadId = await sendOne();
  const [before] = (await list()).effects;
  await answer(threadId, { [before!.interrupt_id!]: { type: "not_happened" } });
  const [after] = (await list()).effects;
  expect(after).toMatchObject({ answers: [{ decision: "not_happened", refusal: "too_early" }] });
  expect(after!.interrupt_id).not.toBe(before!.interrupt_id);
});

test("what a person has left alone is `abandoned`, and in nobody's way", async () => {
  const threadId = await sendOne();
  const [{ interrupt_id } = { interrupt_id: null }] = (await list()).effects;
  await answer(threadId, { [interrupt_id!]: { type: "abandon" } });
  expect((await list()).effects).toEqual([]);
  expect((await list("?state=abandoned")).effects).toMatchObject([{ thread_id: threadId, interrupt_id: null }]);
  expect(await figure()).toBe(0);
});

test("who drops the question has decided nothing: the effect is still listed, without a question", async () => {
  const { thread_id } = await server.client.threads.create();
  await server.client.runs.wait(thread_id, "graph", { input: {} });
  await server.client.threads.updateState(thread_id, { values: null, asNode: "__end__" });
  expect((await list()).effects).toMatchObject([{ thread_id, interrupt_id: null, answers: [] }]);
  expect(await figure()).toBe(1);
});

test("pages lead through all of them, each once", async () => {
  const threads = [await sendOne(), await sendOne(), await sendOne()];
  const seen: string[] = [];
  for (let next: string | null = ""; next !== null;) {
    const page: EffectPage = await list(`?limit=2${next && `&after=${next}`}`);
    seen.push(...page.effects.map(({ thread_id }) => thread_id));
    next = page.next;
  }
  expect(seen).toEqual(threads.toSorted());
});

test("another tenant's are not shown", async () => {
  await sendOne();
  const other = { tenant: "other", identity: "somebody" };
  const page = await listEffects(server.database.pool, other, { state: "unknown", limit: 10 });
  expect(page).toEqual({ effects: [], next: null });
});

test("what is no search is refused", async () => {
  const cursor = (of: unknown): string => `?after=${Buffer.from(JSON.stringify(of)).toString("base64url")}`;
  const strange = [cursor(["a", "b"]), cursor(["0199a1c4-0000-7000-8000-000000000000", "\0"]), cursor(7)];
  for (const query of ["?state=lost", "?limit=0", "?limit=1001", "?limit=x", "?after=x", ...strange]) {
    const response = await fetch(`${server.url}/effects${query}`);
    const { code } = (await response.json()) as { code: string };
    expect([query, response.status, code]).toEqual([query, 422, "invalid_input"]);
  }
});
