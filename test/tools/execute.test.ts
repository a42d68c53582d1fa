/** How a tool call ends, whatever the tool does. */
import { GraphInterrupt } from "@langchain/langgraph";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { PawlError } from "../../lib/errors.ts";
import { defineTool, executeTool, type Tool, ToolFailure } from "../../tools/index.ts";
import { createHarness } from "./harness.ts";

function toolThat(run: Tool["run"], more: Partial<Tool> = {}): Tool {
  const input = z.strictObject({ x: z.number().optional() });
  return defineTool({ name: "probe", description: "For tests", input, effect: "none", timeoutMs: 300, run, ...more });
}

describe("a call without effect", () => {
  test("returns the tool's result as JSON", async () => {
    using harness = createHarness();
    const tool = toolThat(async () => ({ when: new Date(0), missing: undefined }));
    expect(await executeTool(tool, {}, harness.context())).toEqual({
      status: "ok",
      result: { when: "1970-01-01T00:00:00.000Z" },
    });
    expect(
      await executeTool(
        toolThat(async () => undefined),
        {},
        harness.context(),
      ),
    ).toEqual({ status: "ok", result: null });
  });

  test.each([[null], ["text"], [{ x: "1" }], [{ y: 1 }], [[]]])(
    "with the arguments %j is refused and the tool does not run",
    async (args) => {
      using harness = createHarness();
      const outcome = await executeTool(
        toolThat(() => expect.unreachable()),
        args,
        harness.context(),
      );
      expect(outcome).toMatchObject({ status: "error", code: "INVALID_ARGS" });
    },
  );

  test("that ignores its signal and never returns is timed out", async () => {
    using harness = createHarness();
    const outcome = await executeTool(
      toolThat(() => new Promise(() => {})),
      {},
      harness.context(),
    );
    expect(outcome).toEqual({ status: "error", code: "TIMEOUT", message: "probe did not finish within 300 ms" });
  });

  test("that turns its abort into an error of its own is still a time-out", async () => {
    using harness = createHarness();
    const tool = toolThat(
      (_, { signal }) =>
        new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new Error("closed")))),
    );
    expect(await executeTool(tool, {}, harness.context())).toMatchObject({ code: "TIMEOUT" });
  });

  test("that throws shows neither message nor stack", async () => {
    using harness = createHarness();
    const outcome = await executeTool(
      toolThat(() => Promise.reject(new Error(`ENOENT ${harness.dataDir}/secret`))),
      {},
      harness.context(),
    );
    expect(outcome).toEqual({
      status: "error",
      code: "INTERNAL",
      message: "probe failed for a reason of its own; the operator's log has it",
    });
  });

  test("that throws before it returns a promise is treated alike", async () => {
    using harness = createHarness();
    const tool = toolThat(() => {
      throw new TypeError("x is not a function");
    });
    expect(await executeTool(tool, {}, harness.context())).toMatchObject({ code: "INTERNAL" });
  });

  test("is repeated for a transient failure, three times in all", async () => {
    using harness = createHarness();
    let calls = 0;
    const flaky = (untilCall: number): Tool =>
      toolThat(
        async () => {
          if (++calls < untilCall) throw new ToolFailure("FAILED", "busy", { transient: true });
          return calls;
        },
        { timeoutMs: 5_000 },
      );
    expect(await executeTool(flaky(3), {}, harness.context())).toEqual({ status: "ok", result: 3 });
    calls = 0;
    expect(await executeTool(flaky(9), {}, harness.context())).toEqual({
      status: "error",
      code: "MAX_RETRIES",
      message: "busy (3 attempts)",
    });
    expect(calls).toBe(3);
  });

  test("is not repeated for a failure that will come again", async () => {
    using harness = createHarness();
    let calls = 0;
    const tool = toolThat(async () => {
      calls++;
      throw new ToolFailure("DENIED", "not here");
    });
    expect(await executeTool(tool, {}, harness.context())).toEqual({
      status: "error",
      code: "DENIED",
      message: "not here",
    });
    expect(calls).toBe(1);
  });
});

describe("what is about the run is thrown", () => {
  test.each([
    ["an interrupt of the graph", new GraphInterrupt([])],
    ["a lost lease", new PawlError("lease_lost", "gone")],
    ["the end of the process", new PawlError("shutting_down", "bye")],
  ])("%s", async (_name, thrown) => {
    using harness = createHarness();
    await expect(
      executeTool(
        toolThat(() => Promise.reject(thrown)),
        {},
        harness.context(),
      ),
    ).rejects.toBe(thrown);
  });

  test("an abort of the call, with its reason, though the tool never returns", async () => {
    using harness = createHarness();
    const cancel = new AbortController();
    const call = executeTool(
      toolThat(() => new Promise(() => {}), { timeoutMs: 60_000 }),
      {},
      harness.context({}, { signal: cancel.signal }),
    );
    const reason = new Error("cancelled by the user");
    cancel.abort(reason);
    await expect(call).rejects.toBe(reason);
  });

  test("a failure of the ledger", async () => {
    using harness = createHarness();
    const broken = new Error("connection terminated");
    const host = Object.assign(harness.host, { effect: () => Promise.reject(broken) });
    const call = executeTool(
      toolThat(() => expect.unreachable(), { effect: "idempotent" }),
      {},
      harness.context({}, { host }),
    );
    await expect(call).rejects.toBe(broken);
  });
});

describe("a call with an effect", () => {
  test("happens once for a tool call and its arguments, in whatever order their keys come", async () => {
    using harness = createHarness();
    let calls = 0;
    const tool = toolThat(async () => ++calls, {
      effect: "irreversible",
      input: z.object({ a: z.number(), b: z.number() }),
    });
    const first = await executeTool(tool, { a: 1, b: 2 }, harness.context());
    expect(await executeTool(tool, { b: 2, a: 1 }, harness.context())).toEqual(first);
    expect(calls).toBe(1);
    await executeTool(tool, { a: 1, b: 3 }, harness.context());
    await executeTool(tool, { a: 1, b: 2 }, harness.context({}, { toolCallId: "call_2" }));
    expect(calls).toBe(3);
  });

  test("is not repeated when it is irreversible, however it failed", async () => {
    using harness = createHarness();
    let calls = 0;
    const tool = toolThat(
      async () => {
        calls++;
        throw new ToolFailure("FAILED", "refused", { transient: true });
      },
      { effect: "irreversible" },
    );
    const outcome = { status: "error", code: "FAILED", message: "refused" };
    expect(await executeTool(tool, {}, harness.context())).toEqual(outcome);
    expect(await executeTool(tool, {}, harness.context()), "the refusal is what the ledger keeps").toEqual(outcome);
    expect(calls).toBe(1);
  });

  test.each([
    ["ran out of time", () => new Promise<never>(() => {})],
    ["failed in a way it did not foresee", () => Promise.reject(new Error("socket closed"))],
  ])("has an unknown outcome when it is irreversible and %s", async (_name, run) => {
    using harness = createHarness();
    const tool = toolThat(run, { effect: "irreversible" });
    expect(await executeTool(tool, {}, harness.context())).toMatchObject({ status: "error", code: "EFFECT_UNKNOWN" });
  });

  test("tells an unknown outcome of an earlier attempt as one", async () => {
    using harness = createHarness();
    const unknown = new PawlError("effect_unknown", "sent before");
    const host = Object.assign(harness.host, { effect: () => Promise.reject(unknown) });
    const outcome = await executeTool(
      toolThat(() => expect.unreachable(), { effect: "irreversible" }),
      {},
      harness.context({}, { host }),
    );
    expect(outcome).toMatchObject({ code: "EFFECT_UNKNOWN", message: expect.stringContaining("Do not repeat it") });
  });

  test("that ran out of time is a plain time-out when it may be repeated", async () => {
    using harness = createHarness();
    const tool = toolThat(() => new Promise(() => {}), { effect: "idempotent" });
    expect(await executeTool(tool, {}, harness.context())).toMatchObject({ code: "TIMEOUT" });
  });
});

describe("a result", () => {
  test("loses what a database or a terminal cannot bear", async () => {
    using harness = createHarness();
    const tool = toolThat(async () => ({ "k\0ey": ["\u001b[31mred\u001b[0m\ud800", "a\u202eb"] }));
    expect(await executeTool(tool, {}, harness.context())).toEqual({
      status: "ok",
      result: { key: ["red\ufffd", "ab"] },
    });
  });

  test.each([
    ["text", "x".repeat(300_000)],
    ["an object", { list: Array.from({ length: 50_000 }, (_, i) => i) }],
  ])("that is too large is cut: %s", async (_name, value) => {
    using harness = createHarness();
    const outcome = await executeTool(
      toolThat(async () => value),
      {},
      harness.context(),
    );
    expect(outcome).toMatchObject({
      status: "ok",
      result: { truncated: true, text: expect.stringContaining("bytes dropped") },
    });
    expect(JSON.stringify(outcome).length).toBeLessThan(220_000);
  });

  test("that is no JSON is an internal failure", async () => {
    using harness = createHarness();
    const cycle: Record<string, unknown> = {};
    cycle["self"] = cycle;
    expect(
      await executeTool(
        toolThat(async () => cycle),
        {},
        harness.context(),
      ),
    ).toMatchObject({ code: "INTERNAL" });
    expect(
      await executeTool(
        toolThat(async () => 1n),
        {},
        harness.context(),
      ),
    ).toMatchObject({ code: "INTERNAL" });
  });
});
