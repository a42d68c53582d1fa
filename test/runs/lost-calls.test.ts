/** A deployment takes a tool away under threads that wait to call it, approved or not: they are found before they go on. */
import { AIMessage, ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { MessagesAnnotation, Send, StateGraph } from "@langchain/langgraph";
import { ToolNode } from "@langchain/langgraph/prebuilt";
import { type AgentMiddleware, createAgent, FakeToolCallingModel, humanInTheLoopMiddleware } from "langchain";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { reactAgent } from "../../graphs/react.ts";
import { offeringTools } from "../../lib/offered-tools.ts";
import { localPrincipal } from "../../lib/principal.ts";
import type { AnyGraph, RunCreate } from "../../runs/index.ts";
import { findSkewedThreads } from "../../runs/skew/parked-threads.ts";
import type { ThreadId } from "../../lib/ids.ts";
import { defineTool } from "../../tools/index.ts";
import { modelOfThisFile } from "../graphs/agent.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { type RunsHost, runsHost } from "../support/runs.ts";

const never = new AbortController().signal;
const model = modelOfThisFile();

let db: TestDatabase;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db[Symbol.asyncDispose]());

/** A process of the build that `hash` names, on the database that all share. */
async function build(graph: unknown, hash: string): Promise<RunsHost> {
  const host = await runsHost({ graph: graph as AnyGraph }, { ...db, [Symbol.asyncDispose]: async () => {} }, hash);
  await host.startWorker();
  return host;
}

async function run(host: RunsHost, threadId: ThreadId, body: Partial<RunCreate>) {
  const { run_id } = await host.create(threadId, body);
  return host.runs.join(localPrincipal, { runId: run_id }, never);
}

/** A thread that a build has brought to where it waits, by one run after the other. */
async function parked(graph: unknown, ...bodies: Partial<RunCreate>[]): Promise<ThreadId> {
  await using host = await build(graph, "before");
  const threadId = await host.thread();
  for (const body of bodies) {
    expect(await run(host, threadId, body)).toMatchObject({ status: expect.stringMatching(/success|interrupted/) });
  }
  return threadId;
}

async function checked(host: RunsHost, threadId: ThreadId) {
  const found = await Array.fromAsync(findSkewedThreads(db.pool, host.graphs));
  return found.find((each) => each.thread_id === threadId)?.reasons ?? [];
}

/** The build refuses to go on with `body`, and the check before a deployment lists why. */
async function expectRefused(
  graph: unknown,
  { hash, threadId, body }: { hash: string; threadId: ThreadId; body: Partial<RunCreate> },
  reason: object,
): Promise<void> {
  await using host = await build(graph, hash);
  const reasons = [expect.objectContaining({ kind: "tool_gone", ...reason })];
  await expect(host.create(threadId, body)).rejects.toMatchObject({ code: "graph_changed", facts: { reasons } });
  expect(await checked(host, threadId)).toEqual(reasons);
}

const input = { messages: [{ role: "user", content: "Pay" }] };

const paying = (name: string) => {
  const done: string[] = [];
  const paid = defineTool({
    name,
    description: "Pays somebody.",
    input: z.strictObject({ to: z.string() }),
    effect: "none",
    needsApproval: true,
    run: ({ to }) => Promise.resolve(done.push(to)),
  });
  return { tool: paid, done };
};

test("a call that was approved and did not run yet is refused when its tool is gone, and runs once the tool is back", async () => {
  const { tool: wire, done } = paying("wire");
  const { tool: other } = paying("other");
  model.current.script({ calls: [{ name: "wire", args: { to: "bob" } }] });
  const approve = { command: { resume: { type: "approve" } }, interrupt_before: ["tools"] };
  const threadId = await parked(reactAgent([wire]), { input }, approve);
  expect(done).toEqual([]);
  const body = { input: null };
  // Also where the same source has other tools today: those of an MCP server, say.
  for (const hash of ["after", "before"])
    await expectRefused(reactAgent([other]), { hash, threadId, body }, { tool: "wire" });
  model.current.script({ text: "Paid." });
  await using host = await build(reactAgent([wire, other]), "after");
  expect(await checked(host, threadId)).toEqual([]);
  expect(await run(host, threadId, body)).toMatchObject({ status: "success" });
  expect(done).toEqual(["bob"]);
});

test("so is an answer to another question, while an approved call waits for it", async () => {
  const [first, second] = [paying("first"), paying("second")];
  const context = { review_mode: "all_at_once" };
  const args = { to: "bob" };
  model.current.script({
    calls: [
      { name: "first", args },
      { name: "second", args },
    ],
  });
  const threadId = await parked(reactAgent([first.tool, second.tool]), { input, context });
  const ids = async () => {
    const { rows } = await db.pool.query<{
      interrupts: Record<string, { id: string; value: { action_request: { action: string } } }[]>;
    }>("select interrupts from threads where thread_id = $1", [threadId]);
    const open = Object.values(rows[0]!.interrupts).flat();
    return new Map(open.map(({ id, value }) => [value.action_request.action, id]));
  };
  const answer = (id: string | undefined) => ({ context, command: { resume: { [id!]: { type: "approve" } } } });
  {
    await using host = await build(reactAgent([first.tool, second.tool]), "before");
    await run(host, threadId, answer((await ids()).get("first")));
  }
  const body = answer((await ids()).get("second"));
  await expectRefused(reactAgent([second.tool]), { hash: "before", threadId, body }, { tool: "first" });
  expect(second.done).toEqual([]);
});

test("a call that a person rejected needs no tool", async () => {
  const { tool: wire } = paying("wire");
  const { tool: other } = paying("other");
  model.current.script({ calls: [{ name: "wire", args: { to: "bob" } }] });
  const reject = { command: { resume: { type: "reject" } }, interrupt_before: ["tools"] };
  const threadId = await parked(reactAgent([wire]), { input }, reject);
  model.current.script({ text: "All right." });
  await using host = await build(reactAgent([other]), "after");
  expect(await run(host, threadId, { input: null })).toMatchObject({ status: "success" });
});

const invented = { id: "call-1", name: "invented", args: {} };

const stock = (name: string) => tool(async () => "done", { name, description: "Does it.", schema: z.object({}) });

/** A graph of LangChain's own node for tools, whose model asks for `call`. */
function withToolNode(call: string, offered: string) {
  return new StateGraph(MessagesAnnotation)
    .addNode("model", ({ messages }) => ({
      messages:
        messages.length > 1
          ? []
          : [new AIMessage({ content: "", tool_calls: [{ id: "call-1", name: call, args: {} }] })],
    }))
    .addNode("tools", new ToolNode([stock(offered)]))
    .addEdge("__start__", "model")
    .addEdge("model", "tools")
    .compile();
}

test("what a ToolNode is about to call is looked for, without a word of the graph", async () => {
  const threadId = await parked(withToolNode("send", "send"), { input, interrupt_before: ["tools"] });
  const body = { input: null };
  await expectRefused(
    withToolNode("send", "read"),
    { hash: "after", threadId, body },
    { tool: "send", tool_call_id: "call-1" },
  );
  await using host = await build(withToolNode("send", "send"), "after");
  expect(await run(host, threadId, body)).toMatchObject({ status: "success" });
});

test("a tool that never was is the model's mistake: the same build goes on, and tells it", async () => {
  const graph = withToolNode("invented", "send");
  const threadId = await parked(graph, { input, interrupt_before: ["tools"] });
  await using host = await build(graph, "before");
  expect(await checked(host, threadId)).toEqual([]);
  expect(await run(host, threadId, { input: null })).toMatchObject({ status: "success" });
});

test("nor does it end a run that is under way when its worker is replaced by another build", async () => {
  const entered = Promise.withResolvers<void>();
  const graph = (gate: () => Promise<object>) =>
    offeringTools(
      new StateGraph(MessagesAnnotation)
        .addNode("model", () => ({ messages: [new AIMessage({ content: "", tool_calls: [invented] })] }))
        .addNode("gate", gate)
        .addNode("tools", () => ({ messages: [new ToolMessage("There is no such tool", invented.id)] }))
        .addEdge("__start__", "model")
        .addEdge("model", "gate")
        .addEdge("gate", "tools")
        .compile(),
      [{ name: "send" }],
    );
  const first = await build(
    graph(() => (entered.resolve(), new Promise(() => {}))), // until the process is gone
    "before",
  );
  const { run_id } = await first.create(await first.thread(), { input });
  await entered.promise;
  await first[Symbol.asyncDispose]();
  await using second = await build(
    graph(async () => ({})),
    "after",
  );
  expect(await second.runs.join(localPrincipal, { runId: run_id }, never)).toMatchObject({ status: "success" });
});

test("a question of LangChain's middleware is looked for, and so is the call that it let pass", async () => {
  // Its types do not go with `exactOptionalPropertyTypes`.
  const asking = humanInTheLoopMiddleware({ interruptOn: { send: true } } as never);
  const agent = (offered: string) =>
    createAgent({
      model: new FakeToolCallingModel({ toolCalls: [[{ id: "call-1", name: "send", args: {} }], []] }),
      tools: [stock(offered)],
      middleware: [asking as unknown as AgentMiddleware],
    }).graph;
  const approve = { command: { resume: { decisions: [{ type: "approve" }] } } };
  const asked = await parked(agent("send"), { input });
  await expectRefused(agent("read"), { hash: "before", threadId: asked, body: approve }, { tool: "send" });
  const approved = await parked(agent("send"), { input }, { ...approve, interrupt_before: ["tools"] });
  await expectRefused(
    agent("read"),
    { hash: "after", threadId: approved, body: { input: null } },
    { tool: "send", tool_call_id: "call-1" },
  );
  await using host = await build(agent("send"), "after");
  expect(await checked(host, asked)).toEqual([]);
  expect(await run(host, approved, { input: null })).toMatchObject({ status: "success" });
});

test("where nobody can tell which tools there are, nothing is refused", async () => {
  const graph = (name: string) =>
    new StateGraph(MessagesAnnotation)
      .addNode("model", () => ({
        messages: [new AIMessage({ content: "", tool_calls: [{ id: "call-1", name: "send", args: {} }] })],
      }))
      .addNode("tools", () => ({ messages: [new AIMessage(name)] }))
      .addEdge("__start__", "model")
      .addEdge("model", "tools")
      .compile();
  const threadId = await parked(graph("one"), { input, interrupt_before: ["tools"] });
  await using host = await build(graph("another"), "after");
  expect(await checked(host, threadId)).toEqual([]);
  expect(await run(host, threadId, { input: null })).toMatchObject({ status: "success" });
});

test("a call that another node than the ToolNode answers is not missed in its tools", async () => {
  const pay = tool(() => "paid", { name: "pay", schema: z.object({ to: z.string() }) });
  const calls = [
    { id: "a", name: "pay", args: { to: "Ada" } },
    { id: "b", name: "hand_over", args: {} },
  ];
  const graph = new StateGraph(MessagesAnnotation)
    .addNode("model", () => ({ messages: [new AIMessage({ content: "", tool_calls: calls })] }))
    .addNode("tools", new ToolNode([pay]))
    .addNode("hand_over", () => ({ messages: [new ToolMessage({ content: "handed over", tool_call_id: "b" })] }))
    .addEdge("__start__", "model")
    .addConditionalEdges(
      "model",
      () => [
        "hand_over",
        new Send("tools", { messages: [new AIMessage({ content: "", tool_calls: calls.slice(0, 1) })] }),
      ],
      ["tools", "hand_over"],
    )
    .compile();
  const threadId = await parked(graph, { input, interrupt_before: ["tools"] });
  await using host = await build(graph, "after");
  expect(await checked(host, threadId)).toEqual([]);
  expect(await run(host, threadId, { input: null })).toMatchObject({ status: "success" });
});
