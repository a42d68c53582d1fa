/** What the demo model does next: it follows the plan that the last user message asks for, one step a turn. */
import { CUT_SHORT } from "../outgoing.ts";
import { abilitiesOf, planOf, type PlannedCall } from "./plan.ts";
import { type Done, failed, reportOf, resultOf } from "./report.ts";
import type { ChatMessage } from "./validate-history.ts";

interface Question {
  readonly messages: readonly ChatMessage[];
  /** Names of the tools that the request offers. */
  readonly offered: readonly string[];
  readonly choice: "auto" | "none" | "required" | { readonly name: string };
}

interface Decision {
  readonly text: string;
  readonly calls: readonly PlannedCall[];
}

export function decide({ messages, offered, choice }: Question): Decision {
  const asked = askedAt(messages, choice);
  const since = messages.slice(asked + 1);
  const done = callsOf(since);
  const turns = since.filter((message) => message.role === "assistant" && message.tool_calls).length;
  const lastResult = done.length > 0 ? resultOf(done.at(-1)!.output) : undefined;
  const plan = planOf(textOf(messages[asked]), lastResult).filter((step) =>
    step.every((c) => offered.includes(c.name)),
  );
  const next = done.some(({ output }) => failed(output)) ? [] : (plan[turns] ?? []);

  if (choice === "none") return { text: done.length > 0 ? reportOf(done) : introduction(offered), calls: [] };
  if (typeof choice === "object") return { text: "", calls: [call(choice.name, plan.flat())] };
  if (next.length > 0) return { text: "", calls: next };
  if (choice === "required" && offered[0] !== undefined) return { text: "", calls: [call(offered[0], plan.flat())] };
  return { text: done.length > 0 ? reportOf(done) : introduction(offered), calls: [] };
}

/**
 * Where the user asked. "Answer now, without tools" after a tool's result is a word of the agent, no new question.
 */
function askedAt(messages: readonly ChatMessage[], choice: Question["choice"]): number {
  const isNote = choice === "none" && messages.at(-1)?.role === "user" && textOf(messages.at(-2)) === CUT_SHORT;
  return messages.slice(0, isNote ? -1 : undefined).findLastIndex((message) => message.role === "user");
}

/** The planned call of this tool, or one without arguments: the caller insists on a call. */
function call(name: string, planned: readonly PlannedCall[]): PlannedCall {
  return planned.find((candidate) => candidate.name === name) ?? { name, args: {} };
}

function callsOf(messages: readonly ChatMessage[]): Done[] {
  const outputs = new Map(
    messages.flatMap((message) => (message.role === "tool" ? [[message.tool_call_id, textOf(message)]] : [])),
  );
  return messages
    .flatMap((message) => (message.role === "assistant" ? (message.tool_calls ?? []) : []))
    .map(({ id, function: fn }) => ({
      name: fn.name,
      args: JSON.parse(fn.arguments) as Record<string, unknown>, // the validator has parsed it before
      output: outputs.get(id) ?? "",
    }));
}

function textOf(message: ChatMessage | undefined): string {
  const content = message?.content ?? "";
  if (typeof content === "string") return content;
  return content.map((part) => (typeof part["text"] === "string" ? part["text"] : "")).join("\n");
}

function introduction(offered: readonly string[]): string {
  const abilities = abilitiesOf(offered);
  const can =
    abilities.length > 0
      ? `Here I can ${abilities.join("; ")}.`
      : "I was given no tool that I know, so this sentence is all I can do.";
  return (
    "I am pawl-demo, the built-in offline stand-in: a few rules, not a language model. " +
    `${can} Set MODEL_BASE_URL to talk to a real model.`
  );
}
