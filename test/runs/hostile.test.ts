/** What clients tried, and must not get through with. */
import { interrupt, StateGraph } from "@langchain/langgraph";
import { expect, test } from "vitest";
import { isPawlError } from "../../lib/errors.ts";
import { RunId, type ThreadId, uuidv7 } from "../../lib/ids.ts";
import { localPrincipal } from "../../lib/principal.ts";
import type { RunCreate } from "../../runs/index.ts";
import { createThreads } from "../../runs/threads/threads.ts";
import { Log, oneNode, type RunsHost, runsHost } from "../support/runs.ts";

const never = new AbortController().signal;

const asking = (...questions: string[]) =>
  new StateGraph(Log)
    .addNode("ask", () => ({ log: questions.map((asked) => String(interrupt(asked))) }))
    .addEdge("__start__", "ask")
    .compile();

async function run(host: RunsHost, threadId: ThreadId, body: Partial<RunCreate> = {}) {
  const { run_id } = await host.create(threadId, body);
  return host.runs.join(localPrincipal, { runId: run_id }, never);
}

async function question(host: RunsHost, threadId: ThreadId): Promise<{ id: string; value: unknown }> {
  const { interrupts } = await host.threadRow(threadId);
  const [first] = Object.values(interrupts as Record<string, { id: string; value: unknown }[]>).flat();
  return first!;
}

test("a stale id answers no other question, whatever stands beside it and however it is written", async () => {
  await using host = await runsHost({ twice: asking("one?", "two?") });
  await host.startWorker();
  const threadId = await host.thread();
  await run(host, threadId);
  const { id: stale } = await question(host, threadId);
  await run(host, threadId, { command: { resume: { [stale.toUpperCase()]: "first" } } });
  const open = await question(host, threadId);
  expect(open.value).toBe("two?");
  for (const resume of [{ [stale]: "A", note: "x" }, { [stale.toUpperCase()]: "A" }, { [open.id]: "B", note: "x" }]) {
    await expect(host.create(threadId, { command: { resume } })).rejects.toSatisfy((e) =>
      isPawlError(e, "unknown_interrupt"),
    );
  }
  expect(await question(host, threadId)).toEqual(open);
});

test("another graph's assistant cannot take the answer to this graph's question", async () => {
  await using host = await runsHost({ ask: asking("pay?"), other: asking("play?") });
  await host.startWorker();
  const threadId = await host.thread();
  await run(host, threadId);
  await expect(host.create(threadId, { assistant_id: "other", command: { resume: "yes" } })).rejects.toSatisfy((e) =>
    isPawlError(e, "invalid_input"),
  );
});

test("null by itself is no answer, and as an answer to an id it is one", async () => {
  await using host = await runsHost({ ask: asking("well?") });
  await host.startWorker();
  const threadId = await host.thread();
  await run(host, threadId);
  await expect(host.create(threadId, { input: undefined, command: { resume: null } })).rejects.toSatisfy((e) =>
    isPawlError(e, "invalid_input"),
  );
  const { id } = await question(host, threadId);
  expect(await run(host, threadId, { command: { resume: { [id]: null } } })).toMatchObject({
    values: { log: ["null"] },
  });
});

test("an answer that was overtaken by new input is an error, and answers nothing", async () => {
  await using host = await runsHost({ ask: asking("well?") });
  await host.startWorker();
  const threadId = await host.thread();
  await run(host, threadId);
  const late = await host.create(threadId, { command: { resume: "yes" }, after_seconds: 3600 });
  await run(host, threadId, { input: { log: ["new"] } });
  const open = await question(host, threadId);
  await host.db.pool.query("update runs set run_after = now() where run_id = $1", [late.run_id]);
  expect(await host.runs.join(localPrincipal, { runId: late.run_id }, never)).toMatchObject({
    status: "error",
    error: { error: "unknown_interrupt" },
  });
  expect(await question(host, threadId)).toEqual(open);
});

test("a delayed run does not keep a thread from being answered", async () => {
  await using host = await runsHost({ ask: asking("well?") });
  await host.startWorker();
  const threadId = await host.thread();
  await run(host, threadId);
  await host.create(threadId, { after_seconds: 3600 });
  expect(await run(host, threadId, { command: { resume: "yes" } })).toMatchObject({ values: { log: ["yes"] } });
});

test("an answer at a checkpoint of the configuration is matched with the questions there", async () => {
  await using host = await runsHost({ ask: asking("well?") });
  await host.startWorker();
  const threadId = await host.thread();
  await run(host, threadId);
  const threads = createThreads({ pool: host.db.pool, graphs: host.graphs });
  const [newest, oldest] = await threads.history(localPrincipal, { threadId, limit: 10 });
  const configurable = { checkpoint_id: oldest!.checkpoint!.checkpoint_id };
  await expect(host.create(threadId, { command: { resume: "yes" }, config: { configurable } })).rejects.toSatisfy((e) =>
    isPawlError(e, "nothing_to_resume"),
  );
  const there = { checkpoint_id: newest!.checkpoint!.checkpoint_id };
  expect(await run(host, threadId, { command: { resume: "yes" }, config: { configurable: there } })).toMatchObject({
    values: { log: ["yes"] },
  });
});

test("nobody can put a run on the thread of a stateless one, which goes with it", async () => {
  await using host = await runsHost({ ask: asking("well?") });
  const stateless = await host.runs.create(localPrincipal, { assistant_id: "ask", input: {} }, {});
  await expect(host.create(stateless.thread_id)).rejects.toSatisfy((e) => isPawlError(e, "thread_busy"));
  for (const action of ["interrupt", "rollback"] as const) {
    const { run_id } = await host.runs.create(localPrincipal, { assistant_id: "ask", input: {} }, {});
    await host.runs.cancel(localPrincipal, { runId: run_id }, { action, wait: never });
  }
  expect((await host.db.pool.query("select thread_id from threads")).rows).toEqual([
    { thread_id: stateless.thread_id },
  ]);
});

test("a key or run id that was used for another body is refused, not answered with the other run", async () => {
  await using host = await runsHost({ graph: oneNode(async () => ({})) });
  const threadId = await host.thread();
  const digests = [Buffer.from("one"), Buffer.from("two")] as const;
  const runId = RunId.parse(uuidv7());
  const bodies = [
    { body: { assistant_id: "graph" }, options: { threadId, idempotencyKey: "key" } },
    { body: { assistant_id: "graph", run_id: runId }, options: { threadId } },
  ];
  for (const { body, options } of bodies) {
    const first = await host.runs.create(localPrincipal, body, { ...options, digest: digests[0] });
    const again = await host.runs.create(localPrincipal, body, { ...options, digest: digests[0] });
    expect(again.run_id).toBe(first.run_id);
    await expect(host.runs.create(localPrincipal, body, { ...options, digest: digests[1] })).rejects.toSatisfy((e) =>
      isPawlError(e, "already_exists"),
    );
  }
});

test("a thread whose graph cannot read its state says so, can be copied, and can be rolled back", async () => {
  const clash = new StateGraph(Log)
    .addNode("left", () => ({ log: ["l"] }))
    .addNode("right", () => ({ log: ["r"] }))
    .addEdge("__start__", "left")
    .addEdge("__start__", "right")
    .compile();
  const unreadable = new Proxy(clash, {
    get: (target, key) =>
      key === "getState" ? () => Promise.reject(new TypeError("cannot merge")) : Reflect.get(target, key, target),
  });
  await using host = await runsHost({ unreadable });
  await host.startWorker();
  const threadId = await host.thread();
  expect(await run(host, threadId)).toMatchObject({ status: "error" });
  const threads = createThreads({ pool: host.db.pool, graphs: host.graphs });
  await expect(threads.state(localPrincipal, { threadId })).rejects.toSatisfy((e) => isPawlError(e, "graph_invalid"));
  expect(await threads.copy(localPrincipal, threadId)).toMatchObject({ status: "idle" });
});
