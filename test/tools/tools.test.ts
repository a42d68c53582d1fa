/** The tools as a model meets them: their schemas, and what a call of each gives. */
import { ChatOpenAI } from "@langchain/openai";
import { afterAll, describe, expect, test } from "vitest";
import { executeTool, javascriptRepl, tools, toolSchemas } from "../../tools/index.ts";
import { closeExecutors } from "../../tools/sandbox/select.ts";
import { createHarness } from "./harness.ts";

afterAll(() => closeExecutors());

const named = (name: string) => tools.find((tool) => tool.name === name) ?? expect.unreachable(`no tool ${name}`);

describe("the list", () => {
  test("says what each tool does to the world and which one a person has to approve", () => {
    expect(tools.map(({ name, effect, needsApproval }) => [name, effect, needsApproval])).toEqual([
      ["current_time", "none", false],
      ["delete_file", "idempotent", false],
      ["edit_file", "idempotent", false],
      ["fetch_url", "none", false],
      ["glob", "none", false],
      ["grep", "none", false],
      ["ls", "none", false],
      ["read_file", "none", false],
      ["run_javascript", "none", false],
      ["run_python", "idempotent", false],
      ["run_shell", "idempotent", false],
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
    expect(await call("write_file", { file_path: "a/b.txt", content: "Grüße\n" })).toEqual({
      status: "ok",
      result: { file_path: "a/b.txt", bytes: 8 },
    });
    expect(await call("read_file", { file_path: "/workspace/a/b.txt" })).toMatchObject({
      result: { content: "Grüße\n", total_lines: 1, untrusted: true },
    });
    expect(await call("ls", {})).toMatchObject({
      result: { files: [{ path: "/workspace/a", is_dir: true }], more: false },
    });
    expect(await call("ls", { path: "a" })).toMatchObject({
      result: { files: [{ path: "/workspace/a/b.txt", size: 8 }] },
    });
  });

  test("are edited, found by name and by content, and deleted", async () => {
    using harness = createHarness();
    const call = (name: string, args: unknown) => executeTool(named(name), args, harness.context());
    await call("write_file", { file_path: "a/b.txt", content: "one two\ntwo (x)\n" });
    const edit = { file_path: "a/b.txt", old_string: "two", new_string: "three" };
    expect(await call("edit_file", edit)).toMatchObject({
      code: "FAILED",
      message: expect.stringContaining("occurs 2 times"),
    });
    expect(await call("edit_file", { ...edit, replace_all: true })).toMatchObject({ result: { occurrences: 2 } });
    expect(await call("edit_file", { ...edit, old_string: "nine" })).toMatchObject({ code: "FAILED" });
    expect(await call("glob", { pattern: "**/*.txt" })).toMatchObject({ result: { files: ["/workspace/a/b.txt"] } });
    expect(await call("grep", { pattern: "(x)" })).toMatchObject({
      result: { matches: [{ path: "/workspace/a/b.txt", line: 2, text: "three (x)" }], more: false, untrusted: true },
    });
    expect(await call("delete_file", { file_path: "a" })).toMatchObject({ status: "ok" });
    expect(await call("ls", {})).toMatchObject({ result: { files: [] } });
  });

  test("are read by the page", async () => {
    using harness = createHarness();
    const lines = Array.from({ length: 1_200 }, (_, n) => `line ${n}`).join("\n");
    await executeTool(named("write_file"), { file_path: "long", content: lines }, harness.context());
    const page = (offset: number) => executeTool(named("read_file"), { file_path: "long", offset }, harness.context());
    expect(await page(0)).toMatchObject({ result: { total_lines: 1_200, next_offset: 500 } });
    const last = await page(1_000);
    expect(last).toMatchObject({ result: { content: expect.stringMatching(/^line 1000\n[^]*line 1199$/) } });
    expect(last).not.toHaveProperty("result.next_offset");
    expect(await page(1_200)).toMatchObject({ code: "FAILED", message: expect.stringContaining("past the end") });
  });

  test("are not those of another conversation", async () => {
    using harness = createHarness();
    await executeTool(named("write_file"), { file_path: "x", content: "mine" }, harness.context());
    const other = harness.context({}, { threadId: "0190b7e0-0000-7000-8000-000000000003" });
    expect(await executeTool(named("read_file"), { file_path: "x" }, other)).toMatchObject({
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
      ["read_file", { file_path: path }],
      ["write_file", { file_path: path, content: "x" }],
      ["edit_file", { file_path: path, old_string: "x", new_string: "y" }],
      ["delete_file", { file_path: path }],
    ] as const) {
      const outcome = await executeTool(named(name), args, harness.context());
      expect(outcome).toMatchObject({ code: "FAILED", message: expect.stringContaining(code) });
      expect(JSON.stringify(outcome)).not.toContain(harness.dataDir);
    }
  });

  test("are text", async () => {
    using harness = createHarness();
    await executeTool(named("write_file"), { file_path: "x", content: "\ud800" }, harness.context());
    expect(await executeTool(named("read_file"), { file_path: "x" }, harness.context())).toMatchObject({
      result: { content: "\ufffd" },
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
      result: { status: "ok", value: 3, console: "sum\n", truncated: false, isolation: "wasm", untrusted: true },
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

test("javascript_repl says where nothing keeps its variables", async () => {
  using harness = createHarness();
  const call = (code: string) => executeTool(javascriptRepl, { code }, harness.context());
  expect(await call("let n = 1; n")).toMatchObject({
    result: { value: 1, variables: expect.stringContaining("not kept") },
  });
  expect(await call("typeof n")).toMatchObject({ result: { value: "undefined" } });
});

describe("run_shell and run_python", () => {
  test("work on the conversation's files, one after the other, and say what ran them", async () => {
    using harness = createHarness();
    const call = (name: string, args: unknown) => executeTool(named(name), args, harness.context());
    await call("write_file", { file_path: "numbers.txt", content: "3\n1\n2\n" });
    expect(await call("run_shell", { command: "sort numbers.txt > sorted.txt; head -1 sorted.txt" })).toEqual({
      status: "ok",
      result: {
        status: "ok",
        exit_code: 0,
        output: "1",
        truncated: false,
        isolation: expect.any(String),
        untrusted: true,
      },
    });
    const code = "import sys\nprint(sum(int(line) for line in open('sorted.txt')), sys.stdin.read())\nsys.exit(3)";
    expect(await call("run_python", { code, stdin: "given" })).toMatchObject({
      result: { status: "error", exit_code: 3, output: "6 given" },
    });
    expect(await call("read_file", { file_path: "sorted.txt" })).toMatchObject({ result: { content: "1\n2\n3\n" } });
  });

  test.each([
    ["the operator", { PAWL_SANDBOX_MIN: "remote" }, {}],
    ["the run", {}, { sandbox: { minimum: "remote" } }],
  ] as const)("are denied where nothing is as strong as %s wants, saying why", async (_who, env, overrides) => {
    using harness = createHarness();
    const context = harness.context(env, overrides);
    for (const [name, args] of [
      ["run_shell", { command: "true" }],
      ["run_python", { code: "1" }],
      ["run_javascript", { code: "1" }],
    ] as const) {
      const outcome = await executeTool(named(name), args, context);
      expect(outcome).toMatchObject({ code: "DENIED", message: expect.stringContaining("wasm is weaker than remote") });
    }
  });

  test("a run may narrow the limits and cannot widen them", async () => {
    using harness = createHarness();
    const write = (sandbox: { files: number }) => {
      const args = { file_path: `${sandbox.files}`, content: "x" };
      return executeTool(named("write_file"), args, harness.context({}, { sandbox }));
    };
    expect(await write({ files: 0 })).toMatchObject({ code: "FAILED", message: expect.stringContaining("0 files") });
    expect(await write({ files: 1e9 })).toMatchObject({ status: "ok" });
  });
});
