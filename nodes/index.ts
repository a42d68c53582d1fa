/** `pawl/nodes`, for graphs of other projects: what graphs/react.ts is wired from. Our own graphs import the files. */
export type {
  Effect,
  EffectAnswer,
  EffectContext,
  KnownEffect,
  ReconcileContext,
  Reconciliation,
  UnknownEffect,
} from "../lib/effect.ts";
export { hostOf, type HostPorts } from "../lib/host.ts";
export { offeringTools } from "../lib/offered-tools.ts";
export { allowStored } from "../lib/stored-classes.ts";
export { needsReview, Review, reviewOf } from "./approval.ts";
export { isRepeated } from "./budget.ts";
export { callModel, type ModelState, type ModelUpdate } from "./call-model.ts";
export { executeToolCall, type ToolTask } from "./execute-tool.ts";
export { review, type ReviewTask } from "./review.ts";
export { AgentSettings, type Settings, settingsOf } from "./settings.ts";
export { answered, type UnknownQuestion } from "./unknown-effect.ts";
export { pendingCalls, type RequestedCall } from "./tool-calls.ts";
