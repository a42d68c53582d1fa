/** Assistants, as the stock client sees them. */
import { MessagesValue, START, StateGraph, StateSchema } from "@langchain/langgraph";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { assistantIdOf } from "../../lib/ids.ts";
import { localPrincipal } from "../../lib/principal.ts";
import { resolveAssistant } from "../../runs/assistants/resolve.ts";
import { refusal, type World, world } from "../threads/support.ts";

const TypedState = new StateSchema({ topic: z.string(), messages: MessagesValue });
const typed = new StateGraph(TypedState, z.object({ tone: z.string().optional() }))
  .addNode("work", () => ({ topic: "x" }))
  .addEdge(START, "work")
  .compile();
const unspeakable = new StateGraph(z.object({ when: z.date() }))
  .addNode("work", () => ({}))
  .addEdge(START, "work")
  .compile();

let w: World;
beforeAll(async () => {
  w = await world({ typed, unspeakable });
});
afterAll(() => w[Symbol.asyncDispose]());

test("each graph has a system assistant, which a second start leaves alone", async () => {
  const before = await w.client.assistants.search({ metadata: { created_by: "system" }, limit: 100 });
  expect(before.map((a) => a.graph_id).sort()).toEqual([...w.graphs.keys()].sort());
  await w.assistants.createForGraphs(localPrincipal);
  expect(await w.client.assistants.search({ metadata: { created_by: "system" }, limit: 100 })).toEqual(before);
  const [version] = (await w.client.assistants.getVersions(before[0]!.assistant_id)) as unknown as object[];
  expect(version).toMatchObject({ version: 1 });
});

test("an assistant is called by its id or by its graph's", async () => {
  const byGraph = await w.client.assistants.get("steps");
  expect(byGraph).toMatchObject({
    assistant_id: assistantIdOf("steps"),
    graph_id: "steps",
    name: "steps",
    version: 1,
    description: null,
  });
  expect(await w.client.assistants.get(byGraph.assistant_id.toUpperCase())).toEqual(byGraph);
  expect(await resolveAssistant(w.db.pool, localPrincipal, "steps")).toMatchObject({ graph_id: "steps" });
});

test("a name that is nobody's says so in words that clients look for", async () => {
  await expect(w.client.assistants.get("nobody")).rejects.toThrow(/404.*No assistant found for \\?"nobody/);
  expect(await refusal(w.client.assistants.getGraph("nobody"))).toBe("404 assistant_not_found");
  expect(await refusal(w.client.assistants.getVersions("nobody"))).toBe("404 assistant_not_found");
  expect(await refusal(w.client.assistants.delete("nobody"))).toBe("404 assistant_not_found");
});

test("another tenant sees none of them", async () => {
  const stranger = { tenant: "other", identity: null };
  await expect(w.assistants.get(stranger, "steps")).rejects.toMatchObject({ code: "assistant_not_found" });
  expect(await w.assistants.count(stranger, {})).toBe(0);
});

test("an assistant lives through versions, and any of them can be the latest again", async () => {
  const first = await w.client.assistants.create({
    graphId: "steps",
    name: "mine",
    config: { configurable: { model: "small" } },
    context: { tone: "dry" },
    metadata: { team: "a" },
  });
  expect(first).toMatchObject({ version: 1, name: "mine", context: { tone: "dry" } });
  const id = first.assistant_id;
  const second = await w.client.assistants.update(id, {
    graphId: "chat",
    context: { tone: "warm" },
    metadata: { stage: "test" },
  });
  expect(second).toMatchObject({
    version: 2,
    graph_id: "chat",
    name: "mine",
    config: { configurable: { model: "small" } },
    context: { tone: "warm" },
    metadata: { team: "a", stage: "test" },
  });
  const back = await w.client.assistants.setLatest(id, 1);
  expect(back).toMatchObject({ version: 1, graph_id: "steps", context: { tone: "dry" }, metadata: { team: "a" } });
  // The next number, although the latest version is the first again.
  expect(await w.client.assistants.update(id, { name: "third" })).toMatchObject({ version: 3, graph_id: "steps" });
  const versions = (await w.client.assistants.getVersions(id)) as unknown as { version: number }[];
  expect(versions.map(({ version }) => version)).toEqual([3, 2, 1]);
  expect(await refusal(w.client.assistants.setLatest(id, 9))).toBe("404 assistant_not_found");

  await w.client.assistants.delete(id);
  expect(await refusal(w.client.assistants.get(id))).toBe("404 assistant_not_found");
});

test("patches at the same moment draw different numbers", async () => {
  const { assistant_id } = await w.client.assistants.create({ graphId: "steps" });
  const patched = await Promise.all(
    Array.from({ length: 6 }, (_, i) => w.client.assistants.update(assistant_id, { metadata: { [`k${i}`]: i } })),
  );
  expect(patched.map(({ version }) => version).sort((a, b) => a - b)).toEqual([2, 3, 4, 5, 6, 7]);
  const { metadata } = await w.client.assistants.get(assistant_id);
  expect(Object.keys(metadata ?? {})).toHaveLength(6);
});

test("an id can be used once, unless the client says that it does not mind", async () => {
  const { assistant_id } = await w.client.assistants.create({ graphId: "steps", name: "first" });
  const again = { graphId: "steps", assistantId: assistant_id, name: "second" };
  expect(await refusal(w.client.assistants.create(again))).toBe("409 already_exists");
  expect(await w.client.assistants.create({ ...again, ifExists: "do_nothing" })).toMatchObject({ name: "first" });
});

test("an assistant needs a graph that is there", async () => {
  expect(await refusal(w.client.assistants.create({ graphId: "absent" }))).toBe("404 graph_not_found");
  const { assistant_id } = await w.client.assistants.create({ graphId: "steps" });
  expect(await refusal(w.client.assistants.update(assistant_id, { graphId: "absent" }))).toBe("404 graph_not_found");
});

test("a search filters, sorts, selects and says what is beyond the page", async () => {
  for (const name of ["Alpha bot", "beta BOT", "gamma bot"]) {
    await w.client.assistants.create({ graphId: "chat", name, metadata: { tested: { deep: [1, 2] } } });
  }
  const search = { metadata: { tested: { deep: [2] } }, name: "BOT", sortBy: "name", sortOrder: "asc" } as const;
  const body = { metadata: search.metadata, name: "BOT", sort_by: "name", sort_order: "asc", limit: 2 };
  const request = (offset: number) =>
    w.app.request("/assistants/search", { method: "POST", body: JSON.stringify({ ...body, offset }) });
  const first = await request(0);
  expect(first.headers.get("x-pagination-total")).toBe("3");
  expect(first.headers.get("x-pagination-next")).toBe("2");
  expect(((await first.json()) as { name: string }[]).map(({ name }) => name)).toEqual(["Alpha bot", "beta BOT"]);
  const last = await request(2);
  expect(last.headers.get("x-pagination-total")).toBe("3");
  expect(last.headers.get("x-pagination-next")).toBeNull();
  const selected = await w.client.assistants.search({ ...search, select: ["name", "version"] });
  expect(selected[0]).toEqual({ name: "Alpha bot", version: 1 });
  expect(await w.client.assistants.count({ metadata: search.metadata, graphId: "chat" })).toBe(3);
  expect(await w.client.assistants.count({ metadata: { tested: { deep: [9] } } })).toBe(0);
});

test.each([
  ["limit", { limit: 0 }],
  ["limit", { limit: 1_001 }],
  ["offset", { offset: -1 }],
  ["sort_by", { sort_by: "name; drop table assistants" }],
])("a search with a bad %s is refused", async (field, body) => {
  const response = await w.app.request("/assistants/search", { method: "POST", body: JSON.stringify(body) });
  expect(response.status).toBe(422);
  expect(await response.json()).toMatchObject({ detail: expect.stringContaining(field) });
});

test("a drawing opens as many levels of subgraphs as asked for", async () => {
  const nodes = async (query: string): Promise<string[]> => {
    const response = await w.app.request(`/assistants/within/graph${query}`);
    return ((await response.json()) as { nodes: { id: string }[] }).nodes.map(({ id }) => id);
  };
  expect(await nodes("")).toContain("inner");
  expect(await nodes("?xray=false")).toContain("inner");
  for (const query of ["?xray=true", "?xray=1"]) expect(await nodes(query)).toContain("inner:a");
  const { edges } = await w.client.assistants.getGraph("steps");
  expect(edges).toContainEqual(expect.objectContaining({ source: "a", target: "b" }));
  expect((await w.app.request("/assistants/within/graph?xray=lots")).status).toBe(422);
});

test("schemas come from the graph's own ones, with the hints that they carry", async () => {
  const schemas = await w.client.assistants.getSchemas("typed");
  expect(schemas).toMatchObject({
    graph_id: "typed",
    state_schema: { properties: { topic: { type: "string" }, messages: { langgraph_type: "messages" } } },
    input_schema: { properties: { topic: { type: "string" } } },
    output_schema: { type: "object" },
    config_schema: { properties: { tone: { type: "string" } } },
    context_schema: { properties: { tone: { type: "string" } } },
  });
});

test("a graph without schemas still tells its channels and where its messages are", async () => {
  const schemas = await w.client.assistants.getSchemas("chat");
  expect(schemas.input_schema).toMatchObject({ properties: { messages: { langgraph_type: "messages" } } });
  expect(schemas.config_schema).toBeNull();
  expect((await w.client.assistants.getSchemas("steps")).state_schema).toMatchObject({
    properties: { count: {}, log: {} },
  });
});

test("a schema that cannot be expressed is missing and nothing fails", async () => {
  expect(await w.client.assistants.getSchemas("unspeakable")).toMatchObject({
    graph_id: "unspeakable",
    state_schema: { properties: { when: {} } },
  });
});

test("subgraphs are told by path, under both names of each schema", async () => {
  const subgraphs = await w.client.assistants.getSubgraphs("nested", { recurse: true });
  expect(Object.keys(subgraphs)).toEqual(["inner"]);
  expect(subgraphs["inner"]).toMatchObject({
    state: { properties: { log: {} } },
    state_schema: { properties: { log: {} } },
  });
  expect(Object.keys(await w.client.assistants.getSubgraphs("nested", { namespace: "inner" }))).toEqual(["inner"]);
  expect(await w.client.assistants.getSubgraphs("steps")).toEqual({});
});

test("text that Postgres cannot keep does not fail a request", async () => {
  const made = await w.client.assistants.create({ graphId: "steps", name: "a\0b", metadata: { note: "x\0\ud800" } });
  expect(made).toMatchObject({ name: "ab", metadata: { note: "x\ufffd" } });
  expect((await w.app.request("/assistants/a%00b")).status).toBe(404);
});

test("threads go with their assistant only if asked to", async () => {
  const { assistant_id } = await w.client.assistants.create({ graphId: "steps" });
  const kept = await w.client.threads.create({ metadata: { assistant_id: "another" } });
  const gone = await w.client.threads.create({ metadata: { assistant_id } });
  await w.client.assistants.delete(assistant_id, { deleteThreads: true });
  expect(await refusal(w.client.threads.get(gone.thread_id))).toBe("404 thread_not_found");
  expect(await w.client.threads.get(kept.thread_id)).toMatchObject({ thread_id: kept.thread_id });
});
