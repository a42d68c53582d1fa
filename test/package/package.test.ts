/** Pawl in somebody else's project: packed, installed from the registry without scripts, and used as documented. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, expect, test } from "vitest";
import { environment, type Installed, packAndInstall } from "./install.ts";
import { serve } from "./serve.ts";

const execute = promisify(execFile);
let project: Installed;

beforeAll(async () => {
  project = await packAndInstall();
}, 120_000);
afterAll(() => project?.[Symbol.asyncDispose]());

const run = (command: string, ...args: string[]) =>
  execute(command, args, { cwd: project.folder, env: environment, timeout: 25_000 });

test("the package holds compiled code, declarations and migrations, and no sources or tests", () => {
  const { packed } = project;
  expect(packed).toEqual(
    expect.arrayContaining([
      "dist/server/bin.js",
      "dist/server/index.d.ts",
      "dist/db/migrations/0001_init.sql",
      "dist/runs/membership/heartbeat-thread.js",
      "dist/tools/sandbox/wasm/guest-js.js",
    ]),
  );
  const strays = packed.filter(
    (path) => !/^dist\/.+(\.js|\.d\.ts|\.sql)$|^(package\.json|README.*|LICENSE)$/.test(path),
  );
  expect(strays).toEqual([]);
});

test("its declarations fit a strict project", async () => {
  const { stdout } = await run(resolve("node_modules/.bin/tsc"), "--project", ".");
  expect(stdout).toBe("");
});

test("a program uses each of its entries, and the sandbox", async () => {
  const { stdout } = await run(process.execPath, "script.mjs");
  expect(JSON.parse(stdout)).toEqual({ result: 42, functions: ["function", "function", "function"] });
});

test("a project's graph asks, is answered and ends, over the stock client", async () => {
  await using server = await serve(project.folder);
  const client = new Client({ apiUrl: server.url });
  const { thread_id: threadId } = await client.threads.create();
  const asked = await client.runs.wait(threadId, "asking", { input: { text: "mail" } });
  expect(asked).toMatchObject({ text: "mail", __interrupt__: [{ value: "Send mail?" }] });
  expect((await client.threads.getState(threadId)).next).toEqual(["ask"]);
  const answered = await client.runs.wait(threadId, "asking", { command: { resume: "yes" } });
  expect(answered).toEqual({ text: "mail: yes", answer: "yes" });
  const { values, next } = await client.threads.getState(threadId);
  expect({ values, next }).toEqual({ values: { text: "mail: yes", answer: "yes" }, next: [] });
});

test("the program in docs/embedding.md serves, and ends in order", async () => {
  const [, program = ""] = /```ts\n(\/\/ server\.ts\n[^]+?)```/.exec(await readFile("docs/embedding.md", "utf8")) ?? [];
  await writeFile(join(project.folder, "server.ts"), program);
  const env = { ...environment, PORT: "0" };
  const child = spawn(process.execPath, ["server.ts"], {
    cwd: project.folder,
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "close");
  const [printed] = (await once(child.stdout, "data")) as [Buffer];
  const url = String(printed).replace("listening on ", "").trim();
  expect(await (await fetch(`${url}/ok`)).json()).toEqual({ ok: true });
  child.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
});

test("a graph with a LangGraph of its own is refused, and both places are named", async () => {
  const ours = join(project.folder, "node_modules/@langchain/langgraph");
  const theirs = join(project.folder, "team/node_modules/@langchain/langgraph");
  await mkdir(join(theirs, ".."), { recursive: true });
  await cp(ours, theirs, { recursive: true });
  await cp(join(project.folder, "graph.ts"), join(project.folder, "team/graph.ts"));
  await writeFile(join(project.folder, "team.json"), JSON.stringify({ graphs: { team: "./team/graph.ts:graph" } }));
  const refused = serve(project.folder, ["--config", "team.json"]);
  await expect(refused).rejects.toThrow(
    `there are two copies of @langchain/langgraph, ${await realpath(theirs)} and ${await realpath(ours)}`,
  );
});

test("a LangGraph that does not fit, or is not there, is refused before anything starts", async () => {
  const folder = join(project.folder, "node_modules/@langchain/langgraph");
  const manifest = join(folder, "package.json");
  const text = await readFile(manifest, "utf8");
  await writeFile(manifest, JSON.stringify({ ...JSON.parse(text), version: "0.4.9" }));
  await expect(serve(project.folder)).rejects.toThrow(
    /^pawl: Pawl needs @langchain\/langgraph ~1\.4\.18; found 0\.4\.9 in .+node_modules\/@langchain\/langgraph: npm install/m,
  );
  await rm(folder, { recursive: true });
  await expect(serve(project.folder)).rejects.toThrow(
    /^pawl: Pawl needs @langchain\/langgraph ~1\.4\.18; it is not installed/m,
  );
});
