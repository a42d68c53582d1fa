/** Why an attempt was told to stop: the reason of its abort signal. A user's cancel, a shut-down and a lost lease never mix. */
import type { CancelAction } from "./run.ts";

export type StopCause =
  | { readonly kind: "cancelled"; readonly action: CancelAction }
  /** Another worker has the run, or may have: nothing may be written for it any more. */
  | { readonly kind: "lost"; readonly detail: string }
  /** This process ends; the run goes back to the queue. */
  | { readonly kind: "shutdown" };

export class Stop extends Error {
  override readonly name = "AbortError";
  readonly stopCause: StopCause;

  constructor(stopCause: StopCause) {
    super(`The run was stopped: ${stopCause.kind}`);
    this.stopCause = stopCause;
  }
}

/** The cause, if `signal` was aborted with one. */
export function stopCauseOf(signal: AbortSignal): StopCause | undefined {
  return signal.aborted && signal.reason instanceof Stop ? signal.reason.stopCause : undefined;
}
