import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { HumanMessage } from "@langchain/core/messages";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { scriptedModel } from "../support/scripted-model.ts";

const run = promisify(execFile);

/** Our modules as a process with this environment has them: the configuration is read once a process. */
async function modelsIn(env: Record<string, string>) {
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
  vi.resetModules();
  const { modelEndpoint } = await import("../../models/endpoint.ts");
  const { modelReadiness } = await import("../../models/readiness.ts");
  const { callModel } = await import("../../models/chat.ts");
  return { modelEndpoint, modelReadiness, callModel };
}

beforeEach(() => {
  for (const name of ["MODEL_BASE_URL", "MODEL_NAME", "MODEL_API_KEY"]) vi.stubEnv(name, undefined);
});

afterEach(() => vi.unstubAllEnvs());

test("without a configured endpoint the demo model answers, one for the process", async () => {
  const { modelEndpoint, modelReadiness, callModel } = await modelsIn({});
  const [first, second] = await Promise.all([modelEndpoint(), modelEndpoint()]);
  expect(first).toEqual(second);
  expect(first).toMatchObject({ name: "pawl-demo", label: "built-in demo model" });
  expect(await modelReadiness()).toEqual({ ready: true, model: "pawl-demo", endpoint: "built-in demo model" });
  expect((await callModel([new HumanMessage("hi")])).text).toContain("pawl-demo");
});

test("without a configured name the first listed model is used", async () => {
  await using model = await scriptedModel([{ text: "Noon." }], { models: ["big", "small"] });
  const { callModel, modelReadiness } = await modelsIn({ MODEL_BASE_URL: model.url, MODEL_API_KEY: "secret" });
  await callModel([new HumanMessage("hi")]);
  expect(model.requests[0]).toMatchObject({ body: { model: "big" }, headers: { authorization: "Bearer secret" } });
  expect(await modelReadiness()).toEqual({ ready: true, model: "big", endpoint: new URL(model.url).host });
});

test("a model that the endpoint does not list is not ready", async () => {
  await using model = await scriptedModel([], { models: ["other"] });
  const { modelReadiness } = await modelsIn({ MODEL_BASE_URL: model.url, MODEL_NAME: "mine" });
  expect(await modelReadiness()).toMatchObject({
    ready: false,
    model: "mine",
    reason: expect.stringContaining("list"),
  });
});

test("an endpoint that is not there is not ready, and is once it comes", async () => {
  const gone = await scriptedModel();
  const { port } = new URL(gone.url);
  await gone[Symbol.asyncDispose]();
  const { modelReadiness, modelEndpoint } = await modelsIn({ MODEL_BASE_URL: `http://127.0.0.1:${port}/v1` });
  expect(await modelReadiness()).toMatchObject({ ready: false, endpoint: `127.0.0.1:${port}` });
  await expect(modelEndpoint()).rejects.toMatchObject({ code: "model_unavailable" });
  await using _ = await scriptedModel([], { port: Number(port) });
  expect(await modelReadiness()).toMatchObject({ ready: true });
  expect(await modelEndpoint()).toMatchObject({ name: "scripted" });
});

test("the demo model does not keep a process alive", async () => {
  const script = `
    import { HumanMessage } from "@langchain/core/messages";
    import { callModel } from "./models/chat.ts";
    process.stdout.write((await callModel([new HumanMessage("What is 1 + 1?")])).text);`;
  const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", script], { timeout: 20_000 });
  expect(stdout).toContain("pawl-demo");
});
