/** A deployment changes the graph under threads that wait: what can go on does, what cannot is told and left as it was. */
import { Annotation, Command, entrypoint, interrupt, Send, StateGraph } from "@langchain/langgraph";
import { afterAll, beforeAll, expect, test } from "vitest";
import { offeringTools } from "../../lib/offered-tools.ts";
import type { ThreadId } from "../../lib/ids.ts";
import { localPrincipal } from "../../lib/principal.ts";
import type { AnyGraph, RunCreate } from "../../runs/index.ts";
import { createThreads } from "../../runs/threads/threads.ts";
import { findSkewedThreads } from "../../runs/skew/parked-threads.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { type RunsHost, runsHost } from "../support/runs.ts";

const never = new AbortController().signal;

const list = () => Annotation<string[]>({ reducer: (all, more) => [...all, ...more], default: () => [] });
const State = Annotation.Root({ log: list(), note: Annotation<string> });
const ask = () => ({ log: [String(interrupt("sure?"))] });

/** `ask` waits for an answer, then `after` follows. */
function asking(after: string, more: Record<string, () => object> = {}) {
  const graph = new StateGraph(State)
    .addNode("begin", () => ({ log: ["begun"], note: "kept" }))
    .addNode("ask", ask)
    .addNode(after, () => ({ log: [after] }))
    .addEdge("__start__", "begin")
    .addEdge("begin", "ask")
    .addEdge("ask", after);
  for (const [name, node] of Object.entries(more)) graph.addNode(name, node, {});
  return graph.compile() as unknown as AnyGraph;
}

let db: TestDatabase;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db[Symbol.asyncDispose]());

/** A process of one build, on the database that all share. */
async function build(graph: AnyGraph, works = true): Promise<RunsHost> {
  const host = await runsHost({ graph }, { ...db, [Symbol.asyncDispose]: async () => {} });
  if (works) await host.startWorker();
  return host;
}

async function run(host: RunsHost, threadId: ThreadId, body: Partial<RunCreate> = {}) {
  const { run_id } = await host.create(threadId, body);
  return host.runs.join(localPrincipal, { runId: run_id }, never);
}

/** A thread that `graph` has brought to where it waits. */
async function parked(graph: AnyGraph): Promise<ThreadId> {
  await using host = await build(graph);
  const threadId = await host.thread();
  await run(host, threadId);
  return threadId;
}

/** Everything that is stored about a thread. */
async function stored(threadId: ThreadId) {
  const rows = await Promise.all(
    ["threads", "runs", "checkpoints", "checkpoint_writes"].map((table) =>
      db.pool.query(`select * from ${table} t where thread_id::text = $1 order by t::text`, [threadId]),
    ),
  );
  return rows.map((result) => result.rows as unknown[]);
}

const changed = (...reasons: object[]) => ({
  code: "graph_changed",
  facts: { reasons: reasons.map((reason) => expect.objectContaining(reason)) },
});

test.each([
  ["resume", { command: { resume: "yes" } }],
  ["continuation", { input: null }],
  ["goto", { command: { goto: "begin" } }],
])(
  "a %s whose next node is gone is refused, changes nothing, and works again once the deployment is rolled back",
  async (_what, body) => {
    const before = asking("after");
    const threadId = await parked(before);
    const was = await stored(threadId);
    const renamed = new StateGraph(State).addNode("other", ask).addEdge("__start__", "other").compile();
    {
      await using host = await build(renamed);
      await expect(host.create(threadId, body)).rejects.toMatchObject(
        changed({ kind: "node_gone", node: "ask" }, { kind: "question_gone" }),
      );
      expect(await stored(threadId)).toEqual(was);
    }
    await using host = await build(before);
    expect(await run(host, threadId, { command: { resume: "yes" } })).toMatchObject({
      status: "success",
      values: { log: ["begun", "yes", "after"] },
    });
  },
);

test("an edit of a state whose next node is gone is refused; one that drops what is pending is not", async () => {
  const threadId = await parked(asking("after"));
  const renamed = new StateGraph(State).addNode("begin", ask).addEdge("__start__", "begin").compile();
  await using host = await build(renamed);
  const threads = createThreads({ pool: db.pool, graphs: host.graphs });
  const edit = { threadId, values: { log: ["edited"] } };
  await expect(threads.updateState(localPrincipal, { ...edit, as_node: "begin" })).rejects.toMatchObject({
    code: "graph_changed",
  });
  await threads.updateState(localPrincipal, { threadId, as_node: "__end__" });
  await expect(threads.state(localPrincipal, { threadId })).resolves.toMatchObject({
    next: [],
    values: { note: "kept" },
  });
});

test("what is compatible goes on: a new node, a new key, another name and another node later on", async () => {
  const threadId = await parked(asking("after"));
  const More = Annotation.Root({ ...State.spec, extra: Annotation<string> });
  const graph = new StateGraph(More)
    .addNode("begin", () => ({}))
    .addNode("ask", ask)
    .addNode("fresh", () => ({ extra: "set" }))
    .addEdge("__start__", "begin")
    .addEdge("begin", "ask")
    .addEdge("ask", "fresh")
    .compile({ name: "renamed" });
  await using host = await build(graph);
  expect(await run(host, threadId, { command: { resume: "yes" } })).toMatchObject({
    status: "success",
    values: { log: ["begun", "yes"], note: "kept", extra: "set" },
  });
});

test("a state key that holds something and is gone is named; one that never held anything is not", async () => {
  const withKeys = Annotation.Root({ ...State.spec, unused: Annotation<string>, empty: list() });
  const node = () => ({ empty: [], log: [String(interrupt("sure?"))] });
  const before = new StateGraph(withKeys)
    .addNode("begin", () => ({ note: "kept", empty: [] }))
    .addNode("ask", node)
    .addEdge("__start__", "begin")
    .addEdge("begin", "ask")
    .compile();
  const threadId = await parked(before);
  const without = (keys: object) =>
    new StateGraph(Annotation.Root(keys as { log: ReturnType<typeof list> }))
      .addNode("begin", () => ({}))
      .addNode("ask", ask)
      .addEdge("__start__", "begin")
      .addEdge("begin", "ask")
      .compile() as unknown as AnyGraph;
  {
    await using host = await build(without({ log: list() }));
    await expect(host.create(threadId, { command: { resume: "yes" } })).rejects.toMatchObject(
      changed({ kind: "state_key_gone", key: "note" }),
    );
  }
  await using host = await build(without(State.spec));
  expect(await run(host, threadId, { command: { resume: "yes" } })).toMatchObject({ values: { note: "kept" } });
});

test("a new input goes on after any change, and what it left behind is not held against the questions that follow", async () => {
  const threadId = await parked(asking("after"));
  const Other = Annotation.Root({ log: list() });
  const next = (name: string) =>
    new StateGraph(Other)
      .addNode(name, ask)
      .addEdge("__start__", name as "__start__")
      .compile() as unknown as AnyGraph;
  {
    await using host = await build(next("inquire"));
    expect(await run(host, threadId, { input: { log: ["anew"] } })).toMatchObject({
      values: { log: ["begun", "anew"], __interrupt__: [{ value: "sure?" }] },
    });
  }
  {
    await using host = await build(next("inquire"));
    expect(await run(host, threadId, { command: { resume: "yes" } })).toMatchObject({ status: "success" });
  }
  await using host = await build(asking("after")); // the key of the first build is still there for it
  const threads = createThreads({ pool: db.pool, graphs: host.graphs });
  expect(await threads.state(localPrincipal, { threadId })).toMatchObject({ values: { note: "kept" } });
});

test("a task that was sent to a node, a join that is half-way, and a finished task's next node are looked for", async () => {
  const sending = new StateGraph(State)
    .addNode("begin", () => new Command({ goto: [new Send("one", {}), new Send("two", {})] }), { ends: ["one", "two"] })
    .addNode("one", ask)
    .addNode("two", () => ({ log: ["two"] }))
    .addNode("joined", () => ({ log: ["joined"] }))
    .addEdge("__start__", "begin")
    .addEdge(["one", "two"], "joined")
    .compile();
  const threadId = await parked(sending);
  const ends = { ends: ["one"] };
  const without = new StateGraph(State)
    .addNode("begin", () => new Command({ goto: "one" }), ends)
    .addNode("one", ask)
    .addEdge("__start__", "begin")
    .compile();
  await using host = await build(without);
  await expect(host.create(threadId, { command: { resume: "yes" } })).rejects.toMatchObject(
    changed({ kind: "node_gone", node: "two" }, { kind: "node_gone", node: "joined" }),
  );
});

test("a question inside a subgraph whose node is gone is found, and one in a graph that a function calls is left alone", async () => {
  const inner = (name: string) =>
    new StateGraph(State)
      .addNode(name, ask)
      .addEdge("__start__", name as "__start__")
      .compile();
  const outer = (name: string) =>
    new StateGraph(State).addNode("sub", inner(name)).addEdge("__start__", "sub").compile() as unknown as AnyGraph;
  const called = new StateGraph(State)
    .addNode("sub", async (state, config) => inner("hidden").invoke(state, config))
    .addEdge("__start__", "sub")
    .compile() as unknown as AnyGraph;
  const [nested, hidden] = [await parked(outer("ask")), await parked(called)];
  {
    await using host = await build(outer("renamed"));
    await expect(host.create(nested, { command: { resume: "yes" } })).rejects.toMatchObject(
      changed({ kind: "node_gone", node: "ask", ns: expect.stringMatching(/^sub:/) }, { kind: "question_gone" }),
    );
  }
  {
    await using same = await build(outer("ask")); // alone: its worker would claim the run of the next build, too
    expect(await run(same, nested, { command: { resume: "yes" } })).toMatchObject({ status: "success" });
  }
  await using host = await build(called);
  expect(await run(host, hidden, { command: { resume: "yes" } })).toMatchObject({ status: "success" });
});

test("an entrypoint of another name does not get the answer", async () => {
  const workflow = (name: string) => entrypoint({ name }, async () => interrupt("sure?")) as unknown as AnyGraph;
  const threadId = await parked(workflow("first"));
  await using host = await build(workflow("second"));
  await expect(host.create(threadId, { command: { resume: "yes" } })).rejects.toMatchObject(
    changed({ kind: "question_gone" }),
  );
});

test("an approval of a tool that the graph does not offer any more is refused; a graph that does not say is not asked", async () => {
  const approval = () =>
    new StateGraph(State)
      .addNode("review", () => ({ log: [String(interrupt({ action_requests: [{ name: "send", args: {} }] }))] }))
      .addEdge("__start__", "review")
      .compile() as unknown as AnyGraph;
  const threadId = await parked(offeringTools(approval(), [{ name: "send" }]));
  {
    await using host = await build(offeringTools(approval(), [{ name: "read" }]));
    await expect(host.create(threadId, { command: { resume: "yes" } })).rejects.toMatchObject(
      changed({ kind: "tool_gone", tool: "send" }),
    );
  }
  await using host = await build(approval());
  expect(await run(host, threadId, { command: { resume: "yes" } })).toMatchObject({ status: "success" });
});

test("a run that another build has begun ends as graph_changed, its checkpoint and question stay, and the old build goes on with them", async () => {
  const before = asking("after");
  const threadId = await parked(before);
  const was = await stored(threadId);
  await using api = await build(before, false);
  const { run_id } = await api.create(threadId, { command: { resume: "yes" } });
  const renamed = new StateGraph(State).addNode("other", ask).addEdge("__start__", "other").compile();
  {
    await using host = await build(renamed);
    expect(await host.runs.join(localPrincipal, { runId: run_id }, never)).toMatchObject({
      status: "error",
      error: { error: "graph_changed", message: expect.stringMatching(/"ask" is due, and is gone/) },
    });
    const row = await host.threadRow(threadId);
    expect(row).toMatchObject({ status: "error", error: { error: "graph_changed" } });
    expect(row["interrupts"]).toEqual((was[0]![0] as { interrupts: unknown }).interrupts);
    expect((await stored(threadId)).slice(2)).toEqual(was.slice(2));
  }
  await using host = await build(before);
  expect(await run(host, threadId, { command: { resume: "yes" } })).toMatchObject({
    status: "success",
    values: { log: ["begun", "yes", "after"] },
  });
});

test("all threads that wait, are under way or failed and could not go on are listed, and no others, over several pages", async () => {
  const ids = await (async () => {
    await using host = await build(asking("after"));
    const waiting = await Promise.all(Array.from({ length: 102 }, () => host.thread()));
    await Promise.all(waiting.map((threadId) => run(host, threadId)));
    const ended = await host.thread();
    await run(host, ended);
    await run(host, ended, { command: { resume: "yes" } });
    return waiting;
  })();
  // As a run leaves them that waits for a worker, and one that failed.
  const others = { busy: ids[0], error: ids[1] };
  for (const [status, threadId] of Object.entries(others))
    await db.pool.query("update threads set status = $1 where thread_id = $2", [status, threadId]);
  const graph = new StateGraph(State).addNode("other", ask).addEdge("__start__", "other").compile();
  await using changedBuild = await build(graph, false);
  const found = await Array.fromAsync(findSkewedThreads(db.pool, changedBuild.graphs));
  const here = found.filter(({ thread_id }) => ids.includes(thread_id as ThreadId));
  expect(here.map(({ thread_id }) => thread_id)).toEqual(ids.toSorted());
  await using same = await build(asking("after"), false);
  const none = await Array.fromAsync(findSkewedThreads(db.pool, same.graphs));
  expect(none.filter(({ thread_id }) => ids.includes(thread_id as ThreadId))).toEqual([]);
  expect(await Array.fromAsync(findSkewedThreads(db.pool, new Map()))).toContainEqual(
    expect.objectContaining({ thread_id: ids[0], reasons: [{ kind: "graph_gone", graph_id: "graph" }] }),
  );
});

test("a run that is half-way when its worker is replaced by another build ends as graph_changed, and goes on without input in the old one", async () => {
  const entered = Promise.withResolvers<void>();
  const halfWay = (second: () => Promise<object>) =>
    new StateGraph(State)
      .addNode("first", () => ({ log: ["first"] }))
      .addNode("second", second)
      .addEdge("__start__", "first")
      .addEdge("first", "second")
      .compile();
  const host = await build(
    halfWay(() => {
      entered.resolve();
      return new Promise(() => {}); // until the process is gone
    }),
  );
  const threadId = await host.thread();
  const { run_id } = await host.create(threadId, { input: { note: "kept" } });
  await entered.promise;
  await host[Symbol.asyncDispose]();
  {
    const graph = new StateGraph(State).addNode("first", () => ({})).addEdge("__start__", "first");
    await using other = await build(graph.compile());
    expect(await other.runs.join(localPrincipal, { runId: run_id }, never)).toMatchObject({
      status: "error",
      error: { error: "graph_changed", message: expect.stringMatching(/"second" is due, and is gone/) },
    });
  }
  await using same = await build(halfWay(async () => ({ log: ["second"] })));
  expect(await run(same, threadId, { input: null })).toMatchObject({
    status: "success",
    values: { log: ["first", "second"], note: "kept" },
  });
});

test("a run with a new input goes on after its process died right after that, whatever tasks the input took the place of", async () => {
  const sending = new StateGraph(State)
    .addNode("begin", () => new Command({ goto: new Send("gone", {}) }), { ends: ["gone"] })
    .addNode("gone", ask)
    .addEdge("__start__", "begin")
    .compile();
  const threadId = await parked(sending);
  const entered = Promise.withResolvers<void>();
  const next = (start: () => Promise<"only">) =>
    new StateGraph(State)
      .addNode("only", () => ({ log: ["only"] }))
      .addConditionalEdges("__start__", start, ["only"])
      .compile();
  const host = await build(
    next(() => {
      entered.resolve();
      return new Promise(() => {}); // until the process is gone
    }),
  );
  const { run_id } = await host.create(threadId, { input: { note: "anew" } });
  await entered.promise;
  await host[Symbol.asyncDispose]();
  await using again = await build(next(async () => "only"));
  expect(await again.runs.join(localPrincipal, { runId: run_id }, never)).toMatchObject({
    status: "success",
    values: { log: ["only"], note: "anew" },
  });
});
