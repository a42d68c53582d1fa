/**
 * Which calls wait for a person, and what a decision allows: one call, with exactly the arguments that were shown or
 * written by the reviewer. Absent, unclear and outdated decisions allow nothing.
 */
import { z } from "zod";
import { jsonDigest } from "../lib/digest.ts";
import type { Tool } from "../tools/index.ts";
import { readDecision, type ReviewedAction } from "./decision.ts";
import type { RequestedCall } from "./tool-calls.ts";

/** What became of the question about one call. */
export const Review = z.object({
  verdict: z.enum(["approved", "edited", "rejected", "unclear"]),
  /** Of the call that was asked about; the review is void for any other. */
  call_digest: z.string(),
  /** With "edited": the arguments to run. */
  args: z.record(z.string(), z.unknown()).optional(),
  /** With "rejected": for the model. With "unclear": for the reviewer. */
  message: z.string().optional(),
  /** How often the question was answered. */
  answers: z.number().int(),
});
export type Review = z.infer<typeof Review>;

/** A client that answers nonsense for ever must not keep the question open for ever. */
const MAX_ANSWERS = 5;

/** Arguments that the tool would refuse anyway are no question for a person. */
export function needsReview(call: RequestedCall, tool: Tool | undefined): tool is Tool {
  return tool?.needsApproval === true && !call.flaw && tool.input.safeParse(call.args).success;
}

/** The review, if it is about this very call. */
export function reviewOf(call: RequestedCall, reviews: Readonly<Record<string, Review>>): Review | undefined {
  const review = reviews[call.id];
  return review?.call_digest === callDigest(call) ? review : undefined;
}

/** The arguments that a person agreed to; undefined when nobody did. */
export function approvedArgs(call: RequestedCall, review: Review | undefined): RequestedCall["args"] | undefined {
  if (review?.call_digest !== callDigest(call)) return undefined;
  if (review.verdict === "approved") return call.args;
  return review.verdict === "edited" ? review.args : undefined;
}

/** The review that follows from an answer to the question about `call`. */
export function judge(
  question: { call: RequestedCall; tool: Tool; earlier: Review | undefined },
  answer: unknown,
): Review {
  const { call, tool, earlier } = question;
  const answers = (earlier?.answers ?? 0) + 1;
  const about = { call_digest: callDigest(call), answers };
  const unclear = (message: string): Review =>
    answers < MAX_ANSWERS
      ? { ...about, verdict: "unclear", message }
      : { ...about, verdict: "rejected", message: "No readable decision was given." };

  const decision = readDecision(answer);
  if (decision.type === "unclear") {
    return unclear(
      'The answer is not a decision. Send {"decisions": [{"type": "approve"}]}, or "reject" for "approve".',
    );
  }
  if (decision.type === "reject") {
    return { ...about, verdict: "rejected", ...(decision.message && { message: decision.message }) };
  }
  const { action = call } = decision;
  if (action.name !== call.name) return unclear(`The answer names another tool than "${call.name}".`);
  if (callDigest(action) === about.call_digest) return { ...about, verdict: "approved" };
  if (decision.type === "approve") {
    return unclear("The approval shows other arguments than this call's. To change them, send an edit.");
  }
  const parsed = tool.input.safeParse(action.args);
  if (!parsed.success) return unclear(`The edited arguments are not valid. ${z.prettifyError(parsed.error)}`);
  return { ...about, verdict: "edited", args: action.args };
}

function callDigest({ name, args }: ReviewedAction): string {
  return jsonDigest({ name, args });
}
