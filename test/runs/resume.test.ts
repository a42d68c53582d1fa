/** Answers and the questions they are for. */
import { Annotation, interrupt, StateGraph } from "@langchain/langgraph";
import { expect, test } from "vitest";
import { createPool } from "../../db/pool.ts";
import { isPawlError } from "../../lib/errors.ts";
import type { RunId, ThreadId } from "../../lib/ids.ts";
import { localPrincipal } from "../../lib/principal.ts";
import { Answering } from "../../runs/answering.ts";
import { Hub } from "../../runs/events/hub.ts";
import type { RunOutcome } from "../../runs/index.ts";
import { RunsInPostgres } from "../../runs/runs.ts";
import { createThreads } from "../../runs/threads/threads.ts";
import { silent } from "../support/database.ts";
import { Log, oneNode, type RunsHost, runsHost } from "../support/runs.ts";

const never = new AbortController().signal;

function join(host: RunsHost, run: { run_id: RunId; thread_id: ThreadId }): Promise<RunOutcome> {
  return host.runs.join(localPrincipal, { threadId: run.thread_id, runId: run.run_id }, never);
}

const asker = new StateGraph(Log)
  .addNode("ask", () => {
    const one = interrupt<string, string>("one?");
    const two = interrupt<string, string>("two?");
    return { log: [one, two] };
  })
  .addEdge("__start__", "ask")
  .compile();

const Parallel = Annotation.Root({ log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }) });
const twoAskers = new StateGraph(Parallel)
  .addNode("left", () => ({ log: [`left ${String(interrupt("left?"))}`] }))
  .addNode("right", () => ({ log: [`right ${String(interrupt("right?"))}`] }))
  .addEdge("__start__", "left")
  .addEdge("__start__", "right")
  .compile();

async function questions(host: RunsHost, threadId: ThreadId): Promise<{ id: string; value: unknown }[]> {
  const { interrupts } = await host.threadRow(threadId);
  return Object.values(interrupts as Record<string, { id: string; value: unknown }[]>).flat();
}

test("questions asked one after the other have different ids, and an answer to the first cannot answer the second", async () => {
  await using host = await runsHost({ asker });
  await host.startWorker();
  const threadId = await host.thread();
  expect(await join(host, await host.create(threadId))).toMatchObject({
    values: { __interrupt__: [{ value: "one?" }] },
  });
  const [one] = await questions(host, threadId);
  expect(await join(host, await host.create(threadId, { command: { resume: { [one!.id]: "" } } }))).toMatchObject({
    status: "success",
  }); // a falsy answer is one
  const [two, ...others] = await questions(host, threadId);
  expect(two).toMatchObject({ value: "two?" });
  expect(others).toEqual([]);
  expect(two!.id).not.toBe(one!.id);
  await expect(host.create(threadId, { command: { resume: { [one!.id]: "late" } } })).rejects.toSatisfy((e) =>
    isPawlError(e, "unknown_interrupt"),
  );
  await join(host, await host.create(threadId, { input: null })); // goes on, answers nothing
  expect(await questions(host, threadId)).toEqual([two]);
  const end = await join(host, await host.create(threadId, { command: { resume: false } }));
  expect(end).toMatchObject({ status: "success", values: { log: ["", false] } });
  await expect(host.create(threadId, { command: { resume: "again" } })).rejects.toSatisfy((e) =>
    isPawlError(e, "nothing_to_resume"),
  );
});

test("with several questions pending a bare answer is refused, a partial map answers its own, and only the rest stay", async () => {
  await using host = await runsHost({ twoAskers });
  await host.startWorker();
  const threadId = await host.thread();
  await join(host, await host.create(threadId));
  const pending = await questions(host, threadId);
  expect(pending.map(({ value }) => String(value)).toSorted((a, b) => a.localeCompare(b))).toEqual(["left?", "right?"]);
  const refusals = [
    ["yes", "ambiguous_resume"],
    [{}, "invalid_input"],
    [{ ["0".repeat(32)]: "yes" }, "unknown_interrupt"],
    [{ [pending[0]!.id]: "yes", ["0".repeat(32)]: "yes" }, "unknown_interrupt"],
  ] as const;
  for (const [resume, code] of refusals) {
    await expect(host.create(threadId, { command: { resume } })).rejects.toSatisfy((e) => isPawlError(e, code));
  }
  const left = pending.find(({ value }) => value === "left?")!;
  await join(host, await host.create(threadId, { command: { resume: { [left.id]: "L" } } }));
  expect((await questions(host, threadId)).map(({ value }) => value)).toEqual(["right?"]);
  await expect(host.create(threadId, { command: { resume: { [left.id]: "again" } } })).rejects.toSatisfy((e) =>
    isPawlError(e, "unknown_interrupt"),
  );
  expect(await join(host, await host.create(threadId, { command: { resume: "R" } }))).toMatchObject({
    values: { log: ["left L", "right R"] },
  });
});

test("of two simultaneous answers to one question one wins and the other is refused", async () => {
  await using host = await runsHost({ asker });
  await host.startWorker();
  const threadId = await host.thread();
  await join(host, await host.create(threadId));
  const [question] = await questions(host, threadId);
  const answers = await Promise.allSettled(
    ["a", "b", "c"].map((answer) => host.create(threadId, { command: { resume: { [question!.id]: answer } } })),
  );
  const refused = answers.filter((answer) => answer.status === "rejected");
  expect(refused).toHaveLength(2);
  for (const { reason } of refused) expect(["thread_busy", "unknown_interrupt"]).toContain(reason.code);
});

test("a checkpoint that was replayed and answered asks again when it is replayed once more", async () => {
  const once = new StateGraph(Log)
    .addNode("ask", () => ({ log: [interrupt<string, string>("sure?")] }))
    .addEdge("__start__", "ask")
    .compile();
  await using host = await runsHost({ once });
  await host.startWorker();
  const threadId = await host.thread();
  const threads = createThreads({ pool: host.db.pool, graphs: host.graphs });
  await join(host, await host.create(threadId));
  let { checkpoint } = await threads.state(localPrincipal, { threadId });
  const asked = new Set<string>();
  for (const answer of ["one", "two", "three"]) {
    const replay = await host.create(threadId, { input: null, checkpoint });
    expect(await join(host, replay)).toMatchObject({ values: { __interrupt__: [{ value: "sure?" }] } });
    const [question] = await questions(host, threadId);
    asked.add(question!.id);
    ({ checkpoint } = await threads.state(localPrincipal, { threadId }));
    const end = await join(host, await host.create(threadId, { command: { resume: { [question!.id]: answer } } }));
    expect(end).toMatchObject({ status: "success", values: { log: [answer] } });
  }
  expect(asked.size).toBe(3);
});

test("rolling back the run that answered a question opens the question again", async () => {
  const started = Promise.withResolvers<void>();
  const slow = new StateGraph(Log)
    .addNode("ask", () => ({ log: [interrupt<string, string>("sure?")] }))
    .addNode("work", async (_state, { signal }) => {
      started.resolve();
      return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(new Error("stopped"))));
    })
    .addEdge("__start__", "ask")
    .addEdge("ask", "work")
    .compile();
  await using host = await runsHost({ slow });
  await host.startWorker();
  const threadId = await host.thread();
  await join(host, await host.create(threadId));
  const before = await questions(host, threadId);
  const answer = await host.create(threadId, { command: { resume: "yes" } });
  await started.promise;
  await host.runs.cancel(localPrincipal, { runId: answer.run_id }, { action: "rollback", wait: never });
  expect(await questions(host, threadId)).toEqual(before);
  expect(await host.threadRow(threadId)).toMatchObject({ status: "interrupted", values: { log: [] } });
});

test("resumes need one connection each, so that many at once do not wait for each other", async () => {
  await using host = await runsHost({
    graph: oneNode(async () => ({ log: [interrupt<string, string>("well?")] })),
  });
  await host.startWorker();
  const threadId = await host.thread();
  await join(host, await host.create(threadId));
  const pool = createPool({ ...host.db.connection, max: 1, name: "one", log: silent });
  const signals = { send() {}, on: () => () => {}, close: async () => {} };
  const runs = new RunsInPostgres({
    pool,
    graphs: host.graphs,
    hub: new Hub(),
    signals,
    answering: new Answering(),
    onWork: () => {},
  });
  const resume = { assistant_id: "graph", command: { resume: "yes" } };
  const run = await runs.create(localPrincipal, resume, { threadId });
  await pool.end();
  expect(await join(host, run)).toMatchObject({ status: "success", values: { log: ["yes"] } });
});
