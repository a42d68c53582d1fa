/**
 * What travels between us and a guest process: one line when it is ready, one JSON request in, one JSON answer out.
 * No schema library here, since the guest process loads this file for every call.
 */
export const readyLine = "ready\n";

export interface GuestRequest {
  readonly code: string;
  /** From the moment the guest reads this. */
  readonly timeoutMs: number;
  readonly outputBytes: number;
  readonly resultBytes: number;
}

export const evaluationStatuses = ["ok", "error", "timeout", "oom", "output_limit"] as const;
export type EvaluationStatus = (typeof evaluationStatuses)[number];

export interface Evaluation {
  readonly status: EvaluationStatus;
  /** The guest's own JSON of the result; absent when it is undefined. */
  readonly json?: string | undefined;
  readonly error?: string | undefined;
  readonly console: string;
  readonly bytesDropped: number;
}
