import { describe, expect, test } from "vitest";
import { z } from "zod";
import { jsonDigest } from "../../lib/digest.ts";
import type { Review } from "../../nodes/approval.ts";
import { executeToolCall } from "../../nodes/execute-tool.ts";
import { defineTool } from "../../tools/index.ts";

const done: unknown[] = [];
const erase = defineTool({
  name: "erase",
  description: "Erases a file.",
  input: z.strictObject({ path: z.string() }),
  effect: "none",
  needsApproval: true,
  run: (input) => Promise.resolve(done.push(input)),
});
const call = { id: "c1", name: "erase", args: { path: "/a" } };
const approved: Review = {
  verdict: "approved",
  call_digest: jsonDigest({ name: call.name, args: call.args }),
  answers: 1,
};

describe("a tool that needs approval is not executed", () => {
  test.each<[string, Review | undefined]>([
    ["without a review", undefined],
    ["after an unclear answer", { ...approved, verdict: "unclear" }],
    ["when the approval is for other arguments", { ...approved, call_digest: jsonDigest({ ...call, args: {} }) }],
    ["when an edit carries no arguments", { ...approved, verdict: "edited" }],
    ["after a reject", { ...approved, verdict: "rejected" }],
  ])("%s", async (_, review) => {
    const { messages } = await executeToolCall([erase])({ call, review, isRepeated: false }, {});
    expect(messages).toHaveLength(1);
    expect(messages[0]).toMatchObject({ status: "error", tool_call_id: "c1", id: "result-c1" });
    expect(messages[0]!.text).toMatch(/NOT_APPROVED|REJECTED/);
    expect(done).toEqual([]);
  });
});

test("an approved call is executed", async () => {
  const { messages } = await executeToolCall([erase])({ call, review: approved, isRepeated: false }, {});
  expect(messages[0]).toMatchObject({ status: "success" });
  expect(done.splice(0)).toEqual([{ path: "/a" }]);
});

test("the abort of a run is thrown, not told to the model", async () => {
  const signal = AbortSignal.abort(new Error("cancelled"));
  const executing = executeToolCall([erase])({ call, review: approved, isRepeated: false }, { signal });
  await expect(executing).rejects.toThrow("cancelled");
  expect(done).toEqual([]);
});
