/** Nothing ran, and the reason is fit for a model to read. Such an error becomes a result. */
import { FileError } from "../paths.ts";
import { Recorder, runResult } from "../recorder.ts";
import type { Isolation, Policy, RunResult } from "../types.ts";
import type { Workspace } from "../workspace.ts";

export class Refusal extends Error {}

interface Place {
  readonly isolation: Isolation;
  readonly workspace: Workspace;
  readonly policy: Policy;
}

/** Throws what is not about the request. */
export function refused(error: unknown, place: Place): Promise<RunResult> {
  if (!(error instanceof Refusal || error instanceof FileError)) throw error;
  const end = { status: "denied", exitCode: null, durationMs: 0, note: error.message } as const;
  return runResult(new Recorder(place.policy), end, place);
}
