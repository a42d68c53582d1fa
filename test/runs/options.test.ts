/** What a client may ask of a run beside its input. */
import { type LangGraphRunnableConfig, StateGraph } from "@langchain/langgraph";
import { expect, test } from "vitest";
import { hostOf } from "../../lib/host.ts";
import { localPrincipal } from "../../lib/principal.ts";
import type { RunCreate } from "../../runs/index.ts";
import { Log, type RunsHost, runsHost } from "../support/runs.ts";

const never = new AbortController().signal;

const steps = new StateGraph(Log)
  .addNode("one", () => ({ log: ["one"] }))
  .addNode("two", () => ({ log: ["two"] }))
  .addEdge("__start__", "one")
  .addEdge("one", "two")
  .compile();

const endless = new StateGraph(Log)
  .addNode("again", () => ({ log: ["again"] }))
  .addEdge("__start__", "again")
  .addEdge("again", "again")
  .compile();

const told: LangGraphRunnableConfig[] = [];
const listener = new StateGraph(Log)
  .addNode("listen", (_state, config: LangGraphRunnableConfig) => {
    told.push(config);
    return {};
  })
  .addEdge("__start__", "listen")
  .compile();

let sent = 0;
const sender = new StateGraph(Log)
  .addNode("send", async (_state, config: LangGraphRunnableConfig) => {
    const effect = { key: "letter", name: "letter", kind: "irreversible" as const };
    const number = await hostOf(config).effect(effect, async () => ++sent);
    return { log: [`sent ${number}`] };
  })
  .addEdge("__start__", "send")
  .compile();

async function run(host: RunsHost, body: Partial<RunCreate>, threadId = host.thread()) {
  const created = await host.create(await threadId, body);
  return host.runs.join(localPrincipal, { runId: created.run_id }, never);
}

test("a run stops before or after the nodes it was told, and goes on from there", async () => {
  await using host = await runsHost({ steps });
  await host.startWorker();
  for (const stop of [{ interrupt_before: ["two"] }, { interrupt_after: ["one"] }]) {
    const threadId = host.thread();
    expect(await run(host, stop, threadId)).toMatchObject({ status: "success", values: { log: ["one"] } });
    expect(await host.threadRow(await threadId)).toMatchObject({ status: "interrupted" });
    expect(await run(host, { input: null }, threadId)).toMatchObject({ values: { log: ["one", "two"] } });
  }
});

test("a run that exceeds its recursion limit ends as an error, with what it has", async () => {
  await using host = await runsHost({ endless });
  await host.startWorker();
  const threadId = host.thread();
  expect(await run(host, { config: { recursion_limit: 3 } }, threadId)).toMatchObject({
    status: "error",
    error: { error: "GraphRecursionError" },
  });
  expect(await host.threadRow(await threadId)).toMatchObject({
    status: "error",
    values: { log: ["again", "again", "again"] },
  });
});

test("a client cannot set the keys that steer the library and the host, nor pretend to be on another thread", async () => {
  await using host = await runsHost({ listener });
  await host.startWorker();
  const threadId = host.thread();
  const configurable = {
    __pregel_checkpointer: "x",
    __pawl_run: "x",
    thread_id: "other",
    run_id: "other",
    color: "red",
  };
  expect(await run(host, { config: { configurable }, context: { size: 3 } }, threadId)).toMatchObject({
    status: "success",
  });
  const config = told.at(-1);
  expect(config?.configurable).toMatchObject({ color: "red", thread_id: await threadId });
  expect(config?.configurable?.["run_id"]).not.toBe("other");
  expect(config?.configurable?.["__pawl_run"]).not.toBe("x");
  expect(config?.context).toEqual({ size: 3 });
});

test("an effect happens once for its key, also on a later run, and is refused when its record could come too late", async () => {
  await using host = await runsHost({ sender });
  await host.startWorker();
  const threadId = host.thread();
  for (let i = 0; i < 2; i++) expect(await run(host, {}, threadId)).toMatchObject({ status: "success" });
  expect(await host.threadRow(await threadId)).toMatchObject({ values: { log: ["sent 1", "sent 1"] } });
  for (const durability of ["async", "exit"] as const) {
    expect(await run(host, { durability })).toMatchObject({ status: "error", error: { error: "durability_required" } });
  }
  expect(sent).toBe(1);
});

test("an irreversible effect whose outcome was lost is not repeated, and said to be unknown", async () => {
  await using host = await runsHost({ sender });
  await host.startWorker();
  const threadId = host.thread();
  await host.db.pool.query(
    "insert into effects (thread_id, key, run_id, epoch, name) values ($1, 'letter', gen_random_uuid(), 0, 'letter')",
    [await threadId],
  );
  const before = sent;
  expect(await run(host, {}, threadId)).toMatchObject({ status: "error", error: { error: "effect_unknown" } });
  expect(sent).toBe(before);
});
