/**
 * Asks a person about a call that was sent and whose outcome nobody recorded. The question is asked inside the task
 * that makes the call, which runs again for each answer: all it needs to know is the ledger's, and an answer that the
 * ledger has is never taken for the answer to a later question.
 */
import { interrupt } from "@langchain/langgraph";
import { z } from "zod";
import { jsonDigest } from "../lib/digest.ts";
import type { EffectAnswer, UnknownEffect } from "../lib/effect.ts";
import type { HostPorts } from "../lib/host.ts";
import { cleanText } from "../lib/text.ts";
import { reported, type Tool, type ToolOutcome } from "../tools/index.ts";
import { inAnyDialect, opened } from "./decision.ts";
import { superset } from "./question.ts";
import type { RequestedCall } from "./tool-calls.ts";

/** A client that answers nonsense for ever must not keep the question open for ever. */
const MAX_UNCLEAR = 5;

const DECISIONS = ["happened", "not_happened", "abandon"] as const;
const remark = z.string().nullish();

const Decided = z.strictObject({ type: z.enum(DECISIONS), result: z.unknown().optional(), message: remark });
/** What clients for approvals can say. To reject, with any other words, or to ignore leaves the call alone. */
const Refused = z
  .object({ type: z.enum(["reject", "ignore"]), message: remark, args: remark })
  .transform(({ message, args }) => ({ type: "abandon" as const, message: message ?? args }));
/** Where a client has a field for text (agent-inbox for a response, agent-chat-ui for a rejection): one of the three words, typed on purpose. */
const Written = z
  .object({
    type: z.enum(["response", "respond", "reject"]),
    args: z.enum(DECISIONS).nullish(),
    message: z.enum(DECISIONS).nullish(),
  })
  .transform(({ args, message }, context) => {
    const type = args ?? message;
    if (type && (args ?? type) === (message ?? type)) return { type };
    context.addIssue("no decision");
    return z.NEVER;
  });

const UnknownAnswer = inAnyDialect(z.union([Decided, Written, Refused]));

/** As JSON Schema: a zod schema would make an unreadable answer fail the run. */
const responseSchema = z.toJSONSchema(UnknownAnswer, { io: "input", reused: "ref" });

export interface UnknownQuestion {
  readonly call: RequestedCall;
  readonly tool: Tool;
  readonly host: HostPorts;
}

/** What `execute` comes to, once all that a person has to be asked about it has been answered. Throws a graph's interrupt. */
export async function answered(about: UnknownQuestion, execute: () => Promise<ToolOutcome>): Promise<ToolOutcome> {
  for (let taken = 0; ;) {
    const outcome = await execute();
    const effect = outcome.status === "error" ? outcome.effect : undefined;
    if (!effect) return outcome;
    const question = questionAboutEffect(about, effect);
    // LangGraph hands a task its answers in order. Those that the ledger has were about earlier attempts or questions.
    for (; taken < effect.answers; taken += 1) interrupt(question);
    const answer: unknown = interrupt(question, { responseSchema });
    taken += 1;
    await about.host.answerEffect(effect, readAnswer(answer, effect));
  }
}

/** A pure function of the state and of what the ledger keeps for good. */
function questionAboutEffect({ call, tool }: UnknownQuestion, effect: UnknownEffect) {
  const { name, args } = call;
  const { refusal, idempotency_key, attempt, dispatched_at, deadline } = effect;
  const asked = `"${name}" was sent at ${dispatched_at}, and whether it happened is not known. Look at the other side, then answer: "happened" (with its result, if there is one), "not_happened" (it is then sent, not before ${deadline}) or "abandon" (it is left as it is). Where there are only buttons, give that one word as the response, or as the reason of a rejection.\n\n${tool.description}`;
  return {
    kind: "effect_unknown",
    tool_call_id: call.id,
    args_digest: jsonDigest(args),
    effect: tool.effect,
    idempotency_key,
    attempt,
    dispatched_at,
    deadline,
    decisions: DECISIONS,
    ...superset({
      name,
      args,
      description: refusal === undefined ? asked : `${refusal}\n\n${asked}`,
      // What the buttons of clients for approvals may say here.
      decisions: ["reject"],
      config: { allow_accept: false, allow_edit: false, allow_respond: true, allow_ignore: true },
    }),
    ...(refusal !== undefined && { error: refusal }),
  };
}

function readAnswer(answer: unknown, { unclear }: UnknownEffect): EffectAnswer {
  const parsed = UnknownAnswer.safeParse(answer);
  if (parsed.success) {
    const said = opened(parsed.data);
    const message = "message" in said && said.message ? cleanText(said.message) : undefined;
    const result = "result" in said ? said.result : undefined;
    const isClear = said.type === "happened" || result === undefined;
    if (isClear) return { decision: said.type, message, ...(said.type === "happened" && { result: reported(result) }) };
  }
  if (unclear + 1 >= MAX_UNCLEAR) return { decision: "abandon", message: "No readable decision was given." };
  return {
    decision: "unclear",
    message:
      'The answer is no decision. Send {"type": "happened", "result": ...}, {"type": "not_happened"} or {"type": "abandon"}.',
  };
}
