/** The tools as a model meets them: their schemas, and what a call of each gives. */
import { ChatOpenAI } from "@langchain/openai";
import { afterAll, describe, expect, test } from "vitest";
import { executeTool, tools, toolSchemas } from "../../tools/index.ts";
import { closeExecutors } from "../../tools/sandbox/select.ts";
import { createHarness } from "./harness.ts";

afterAll(() => closeExecutors());

const named = (name: string) => tools.find((tool) => tool.name === name) ?? expect.unreachable(`no tool ${name}`);

describe("the list", () => {
  test("says what each tool does to the world and which one a person has to approve", () => {
    expect(tools.map(({ name, effect, needsApproval }) => [name, effect, needsApproval])).toEqual([
      ["current_time", "none", false],
      ["fetch_url", "none", false],
      ["list_files", "none", false],
      ["read_file", "none", false],
      ["run_javascript", "none", false],
      ["send_email", "irreversible", true],
      ["write_file", "idempotent", false],
    ]);
  });

  test("becomes schemas that are sorted, closed and taken by a chat model", () => {
    const schemas = toolSchemas(tools.toReversed());
    expect(schemas.map((schema) => schema.function.name)).toEqual(tools.map(({ name }) => name).toSorted());
    for (const { function: f } of schemas)
      expect(f.parameters).toMatchObject({ type: "object", additionalProperties: false });
    expect(schemas.find((schema) => schema.function.name === "current_time")).toEqual({
      type: "function",
      function: {
        name: "current_time",
        description: expect.stringContaining("time zone"),
        parameters: {
          type: "object",
          properties: { time_zone: { type: "string", default: "UTC", description: expect.stringContaining("IANA") } },
          additionalProperties: false,
        },
      },
    });
    const model = new ChatOpenAI({ model: "m", apiKey: "k" });
    expect(() => model.bindTools(schemas)).not.toThrow();
  });
});

describe("current_time", () => {
  test("comes from the host's clock, in the zone that was asked for", async () => {
    using harness = createHarness();
    const at = (time_zone: string) => executeTool(named("current_time"), { time_zone }, harness.context());
    expect(await at("Europe/Berlin")).toMatchObject({
      result: { utc: "2026-03-29T00:59:59.000Z", local: expect.stringContaining("01:59:59") },
    });
    harness.host.now = () => new Date("2026-03-29T01:00:00Z");
    expect(await at("Europe/Berlin")).toMatchObject({
      result: { local: expect.stringContaining("Sunday") && expect.stringContaining("03:00:00") },
    });
    expect(await executeTool(named("current_time"), {}, harness.context())).toMatchObject({
      result: { time_zone: "UTC" },
    });
    expect(await at("Mars/Olympus")).toMatchObject({ code: "INVALID_ARGS" });
  });
});

describe("the files of a conversation", () => {
  test("are written, listed and read", async () => {
    using harness = createHarness();
    const call = (name: string, args: unknown) => executeTool(named(name), args, harness.context());
    expect(await call("write_file", { path: "a/b.txt", text: "Grüße\n" })).toEqual({
      status: "ok",
      result: { path: "a/b.txt", bytes: 8 },
    });
    expect(await call("read_file", { path: "/workspace/a/b.txt" })).toMatchObject({
      result: { text: "Grüße\n", untrusted: true },
    });
    expect(await call("list_files", {})).toMatchObject({
      result: { entries: [{ path: "a" }, { path: "a/b.txt", size: 8 }], more: false },
    });
  });

  test("are not those of another conversation", async () => {
    using harness = createHarness();
    await executeTool(named("write_file"), { path: "x", text: "mine" }, harness.context());
    const other = harness.context({}, { threadId: "0190b7e0-0000-7000-8000-000000000003" });
    expect(await executeTool(named("read_file"), { path: "x" }, other)).toMatchObject({
      code: "FAILED",
      message: "file_not_found: x does not exist",
    });
  });

  test.each([
    ["../../../../etc/passwd", "invalid_path"],
    ["/etc/passwd", "invalid_path"],
    ["/workspace", "is_directory"],
  ])("do not include %s", async (path, code) => {
    using harness = createHarness();
    for (const [name, args] of [
      ["read_file", { path }],
      ["write_file", { path, text: "x" }],
    ] as const) {
      const outcome = await executeTool(named(name), args, harness.context());
      expect(outcome).toMatchObject({ code: "FAILED", message: expect.stringContaining(code) });
      expect(JSON.stringify(outcome)).not.toContain(harness.dataDir);
    }
  });

  test("are text", async () => {
    using harness = createHarness();
    await executeTool(named("write_file"), { path: "x", text: "\ud800" }, harness.context());
    expect(await executeTool(named("read_file"), { path: "x" }, harness.context())).toMatchObject({
      result: { text: "\ufffd" },
    });
  });
});

describe("run_javascript", () => {
  const run = async (code: string, signal = new AbortController().signal) => {
    using harness = createHarness();
    return executeTool(named("run_javascript"), { code }, harness.context({}, { signal }));
  };

  test("gives the value, what was printed, and says that neither is to be trusted", async () => {
    expect(await run("console.log('sum'); 1 + 2")).toEqual({
      status: "ok",
      result: { status: "ok", value: 3, console: "sum\n", truncated: false, untrusted: true },
    });
  });

  test("tells an error of the code as a result, since the model can mend it", async () => {
    expect(await run("nope")).toMatchObject({
      status: "ok",
      result: { status: "error", error: expect.stringMatching(/^ReferenceError: nope is not defined/) },
    });
  });

  test("ends with the run that asked for it", async () => {
    const cancel = new AbortController();
    const call = run("for (;;);", cancel.signal);
    setTimeout(() => cancel.abort(), 200);
    const started = performance.now();
    await expect(call).rejects.toThrow("aborted");
    expect(performance.now() - started).toBeLessThan(1_200);
  });
});
