/**
 * A reviewer's answer in any of the dialects that clients speak, as one `Decision`. Only what is clearly an approval is
 * one: `true`, "yes", `{}`, an unknown type or a second decision is `unclear`.
 *
 * Dialects: `{decisions: [d]}` of LangChain and agent-chat-ui, `[HumanResponse]` of agent-inbox, a bare one of either.
 */
import { z } from "zod";
import { canonicalJson } from "../lib/digest.ts";

export interface ReviewedAction {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
}

type Decision =
  /** `action`: what the reviewer saw, where the client sends it along. */
  | { readonly type: "approve"; readonly action?: ReviewedAction }
  | { readonly type: "edit"; readonly action: ReviewedAction }
  | { readonly type: "reject"; readonly message?: string }
  | { readonly type: "unclear" };

const Args = z.record(z.string(), z.unknown());
const Action = z.object({ name: z.string(), args: Args });
/** agent-inbox calls the tool's name `action`. */
const InboxAction = z
  .object({ action: z.string(), args: Args })
  .transform(({ action: name, args }) => ({ name, args }));
/** Fields that would contradict the decision must not be there. */
const absent = z.null().optional();

const Approve = z
  .object({
    type: z.enum(["approve", "accept"]),
    args: InboxAction.nullish(),
    message: absent,
    edited_action: absent,
    editedAction: absent,
  })
  .transform(({ args }): Decision => ({ type: "approve", ...(args && { action: args }) }));

const Edit = z
  .object({ type: z.literal("edit"), edited_action: Action.optional(), editedAction: Action.optional(), args: absent })
  .transform(({ edited_action, editedAction }): Decision => {
    // The SDK sends both; when they differ, nobody knows which one the reviewer meant.
    const [action, other = action] = [edited_action, editedAction].filter((given) => given !== undefined);
    const isClear = action !== undefined && canonicalJson(action) === canonicalJson(other);
    return isClear ? { type: "edit", action } : { type: "unclear" };
  });

const InboxEdit = z
  .object({ type: z.literal("edit"), args: InboxAction, edited_action: absent, editedAction: absent })
  .transform(({ args }): Decision => ({ type: "edit", action: args }));

const Reject = z
  .object({
    type: z.enum(["reject", "respond", "response", "ignore"]),
    message: z.string().nullish(),
    args: z.string().nullish(),
  })
  .transform(({ message, args }): Decision => {
    const said = message ?? args;
    return { type: "reject", ...(said && { message: said }) };
  });

/** A decision as clients wrap it. */
export function inAnyDialect<Decided extends z.ZodType>(one: Decided) {
  return z.union([z.object({ decisions: z.tuple([one]) }), z.tuple([one]), one]);
}

/** The decision in it. */
export function opened<Decided extends object>(answer: { decisions: [Decided] } | [Decided] | Decided): Decided {
  if (Array.isArray(answer)) return answer[0];
  return "decisions" in answer ? answer.decisions[0] : answer;
}

/** What a reviewer may answer. Published with the question as its `response_schema`. */
export const ReviewAnswer = inAnyDialect(z.union([Approve, Edit, InboxEdit, Reject]));

export function readDecision(answer: unknown): Decision {
  const parsed = ReviewAnswer.safeParse(answer);
  return parsed.success ? opened<Decision>(parsed.data) : { type: "unclear" };
}
