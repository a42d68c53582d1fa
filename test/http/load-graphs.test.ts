/** What a project may export as a graph, and how it is told what is wrong with one. */
import { Pregel } from "@langchain/langgraph/pregel";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadGraphs } from "../../server/load-graphs.ts";
import { readProject } from "../../server/project.ts";

let folder = "";

const build = `
  import { Annotation, StateGraph } from "@langchain/langgraph";
  const State = Annotation.Root({ text: Annotation });
  const builder = new StateGraph(State).addNode("say", () => ({ text: "hi" })).addEdge("__start__", "say");
`;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "pawl-project-"));
  await symlink(resolve("node_modules"), join(folder, "node_modules"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function project(file: string, text: string, more: object = {}) {
  await writeFile(join(folder, file), text);
  const config = join(folder, "langgraph.json");
  await writeFile(config, JSON.stringify({ graphs: { agent: `./${file}:graph` }, ...more }));
  return readProject(config);
}

async function load(file: string, text: string) {
  const graphs = await loadGraphs((await project(file, text)).graphs);
  return graphs.get("agent")!;
}

test("a project says how long new threads stay and how often that is looked at", async () => {
  const source = `${build} export const graph = builder.compile();`;
  expect((await project("ttl.mjs", source)).threadRetention).toEqual({ sweepMinutes: 5 });
  const ttl = { default_ttl: 60, strategy: "keep_latest", sweep_interval_minutes: 10 };
  expect((await project("ttl.mjs", source, { checkpointer: { ttl } })).threadRetention).toEqual({
    sweepMinutes: 10,
    defaultTtl: { ttl: 60, strategy: "keep_latest" },
  });
});

test.each([
  ["compiled.mjs", `${build} export const graph = builder.compile();`],
  ["builder.js", `${build} export const graph = builder;`],
  ["typed.ts", `${build} export const graph = builder.compile() satisfies object;`],
  ["typed.mts", `${build} export const graph = (await Promise.resolve(builder)).compile();`],
  ["factory.mjs", `${build} export const graph = () => builder.compile();`],
  ["async-factory.mjs", `${build} export const graph = async () => builder;`],
  ["wrapped.mjs", `${build} export const graph = { graph: builder.compile() };`],
  [
    "agent.mjs",
    `import { createAgent } from "langchain"; import { FakeListChatModel } from "@langchain/core/utils/testing";
     export const graph = createAgent({ model: new FakeListChatModel({ responses: ["hi"] }), tools: [] });`,
  ],
])("%s is a graph", async (file, text) => {
  const graph = await (await load(file, text)).resolve({});
  expect(graph).toBeInstanceOf(Pregel);
});

test("a factory gets the configuration of each run", async () => {
  const text = `${build} export const graph = (config) => builder.compile({ name: config.configurable.who });`;
  const loaded = await load("configured.mjs", text);
  expect((await loaded.resolve({ configurable: { who: "one" } })).name).toBe("one");
  expect((await loaded.resolve({ configurable: { who: "two" } })).name).toBe("two");
});

test("a factory that fails spoils its run and not the server", async () => {
  const loaded = await load("failing.mjs", `export const graph = () => { throw new Error("no key"); };`);
  await expect(loaded.resolve({})).rejects.toMatchObject({
    code: "graph_invalid",
    message: expect.stringContaining("no key"),
  });
});

test("a graph's hash follows its file", async () => {
  const one = await load("hash-a.mjs", `${build} export const graph = builder;`);
  const two = await load("hash-b.mjs", `${build} export const graph = builder;`);
  const other = await load("hash-c.mjs", `${build} export const graph = builder; // changed`);
  expect(one.hash).toBe(two.hash);
  expect(other.hash).not.toBe(one.hash);
});

test("a graph's hash follows what its file imports of the project, in circles too", async () => {
  const entry = `import "./hash-part.mjs"; ${build} export const graph = builder;`;
  const hashes = [];
  for (const part of [
    "export const part = 1;",
    "export const part = 2;",
    'export const part = 1; import "./hash-d.mjs";',
  ]) {
    await writeFile(join(folder, "hash-part.mjs"), part);
    hashes.push((await load("hash-d.mjs", entry)).hash);
  }
  expect(new Set(hashes).size).toBe(3);
});

test.each([
  ["absent.mjs:graph", "", /the file does not exist/],
  ["wrong-export.mjs:graph", "export const agent = 1; export const tool = 2;", /it exports agent, tool/],
  ["syntax.mjs:graph", "export const graph = ;", /loading it failed/],
  ["throws.mjs:graph", "throw new Error('no disk');", /loading it failed: no disk/],
  ["number.mjs:graph", "export const graph = 7;", /no compiled graph/],
  [
    "never-durable.mjs:graph",
    `${build} export const graph = builder.compile({ checkpointer: false });`,
    /checkpointer: false/,
  ],
  ["foreign.mjs:graph", "export const graph = { lg_is_pregel: true };", /another copy or kind/],
  ["python.py:graph", "graph = 1", /must be one of/],
])("%s is refused by its name and the reason", async (target, text, reason) => {
  const file = target.split(":")[0]!;
  if (text !== "") await writeFile(join(folder, file), text);
  const source = { graphId: "agent", file: join(folder, file), exportName: "graph" };
  await expect(loadGraphs([source])).rejects.toMatchObject({
    code: "bad_configuration",
    message: expect.stringMatching(new RegExp(`"agent".*graph.*${file}.*${reason.source}`, "s")),
  });
});

test("a second copy of a package that may exist once is named with both places", async () => {
  const copy = join(folder, "second", "node_modules", "@langchain", "core");
  await mkdir(copy, { recursive: true });
  await writeFile(join(copy, "package.json"), '{"name":"@langchain/core","version":"0.0.1"}');
  const file = join(folder, "second", "graph.mjs");
  await writeFile(file, "export const graph = 1;");
  const loading = loadGraphs([{ graphId: "agent", file, exportName: "graph" }]);
  await expect(loading).rejects.toThrow(copy);
  await expect(loading).rejects.toThrow(resolve("node_modules/@langchain/core"));
});

test("a description comes with its graph", async () => {
  const graphs = { agent: { path: "./described.mjs:graph", description: "Says hi" } };
  const { graphs: sources } = await project("described.mjs", `${build} export const graph = builder;`, { graphs });
  expect((await loadGraphs(sources)).get("agent")).toMatchObject({ graph_id: "agent", description: "Says hi" });
});

test("the environment comes from a file or stands in the project itself", async () => {
  await writeFile(join(folder, ".env"), 'KEY="a b" # why\nOTHER=2\n');
  expect((await project("e.mjs", "", { env: ".env" })).env).toEqual({ KEY: "a b", OTHER: "2" });
  expect((await project("e.mjs", "", { env: { KEY: "x" } })).env).toEqual({ KEY: "x" });
});

test("an env file that is not there is named, and the project goes on without", async () => {
  const { env, missingEnvFile } = await project("e.mjs", "", { env: ".env.production" });
  expect({ env, missingEnvFile }).toEqual({ env: {}, missingEnvFile: join(folder, ".env.production") });
});

test.each([
  ["{", /cannot be read/],
  ["{}", /graphs/],
  ['{"graphs":{}}', /must name a graph/],
  ['{"graphs":{"agent":"./agent.ts"}}', /path:export/],
])("a project file with %s says what is wrong in it", async (text, reason) => {
  const file = join(folder, "bad.json");
  await writeFile(file, text);
  expect(() => readProject(file)).toThrow(reason);
  expect(() => readProject(file)).toThrow(file);
});
