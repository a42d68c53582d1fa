import { describe, expect, test } from "vitest";
import { z } from "zod";
import { readDecision, ReviewAnswer } from "../../nodes/decision.ts";

const edit = { name: "send", args: { to: "bob" } };
const inboxAction = { action: "send", args: { to: "bob" } };

describe("every client's approval is read", () => {
  test.each([
    ["LangChain and agent-chat-ui", { decisions: [{ type: "approve" }] }],
    ["a bare decision", { type: "approve" }],
    ["agent-inbox", [{ type: "accept", args: null }]],
    ["a bare answer of agent-inbox", { type: "accept", args: null }],
  ])("%s", (_, answer) => {
    expect(readDecision(answer)).toEqual({ type: "approve" });
  });

  test("agent-inbox with the action that was shown", () => {
    expect(readDecision([{ type: "accept", args: inboxAction }])).toEqual({ type: "approve", action: edit });
  });
});

describe("every client's edit is read", () => {
  test.each([
    ["LangChain", { decisions: [{ type: "edit", editedAction: edit }] }],
    ["agent-chat-ui", { decisions: [{ type: "edit", edited_action: edit }] }],
    ["the SDK, which sends both", { decisions: [{ type: "edit", edited_action: edit, editedAction: edit }] }],
    ["agent-inbox", [{ type: "edit", args: inboxAction }]],
    ["a bare decision", { type: "edit", edited_action: edit }],
  ])("%s", (_, answer) => {
    expect(readDecision(answer)).toEqual({ type: "edit", action: edit });
  });
});

describe("every client's refusal is read", () => {
  test.each([
    ["LangChain", { decisions: [{ type: "reject", message: "no" }] }, "no"],
    ["a response is a refusal with words", { decisions: [{ type: "respond", message: "ask Ann" }] }, "ask Ann"],
    ["agent-inbox", [{ type: "response", args: "ask Ann" }], "ask Ann"],
    ["agent-inbox, ignoring", [{ type: "ignore", args: null }], undefined],
    ["without words", { type: "reject" }, undefined],
  ])("%s", (_, answer, message) => {
    expect(readDecision(answer)).toEqual({ type: "reject", ...(message !== undefined && { message }) });
  });
});

test.each([
  true,
  false,
  0,
  1,
  "",
  "yes",
  "approve",
  "accept",
  null,
  undefined,
  {},
  [],
  ["approve"],
  { approve: true },
  { approved: true },
  { type: "APPROVE" },
  { type: "approved" },
  { type: "approve", edited_action: edit },
  { type: "approve", message: "but not to Bob" },
  { type: "accept", args: "yes" },
  { type: "edit" },
  { type: "edit", edited_action: edit, editedAction: { ...edit, args: { to: "eve" } } },
  { type: "edit", edited_action: { name: "send" } },
  { type: "edit", edited_action: edit, args: inboxAction },
  { decision: { type: "approve" } },
  { decisions: [] },
  { decisions: { type: "approve" } },
  { decisions: [true] },
  { decisions: [{ type: "approve" }, { type: "approve" }] },
  [
    { type: "accept", args: null },
    { type: "accept", args: null },
  ],
  [[{ type: "accept", args: null }]],
])("anything else is no decision: %j", (answer) => {
  expect(readDecision(answer)).toEqual({ type: "unclear" });
});

test("what reviewers may answer is published as a JSON Schema", () => {
  expect(JSON.stringify(z.toJSONSchema(ReviewAnswer, { io: "input" }))).toContain('"decisions"');
});
