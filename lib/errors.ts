/**
 * Errors that Pawl raises on purpose. Each carries a stable `code`; nothing below `server/` knows
 * what HTTP status a code becomes (see server/problem.ts).
 */
export const errorCodes = [
  // the request
  "invalid_input",
  "invalid_json",
  "body_too_large",
  "unsupported_media_type",
  "forbidden_origin",
  "forbidden_host",
  "unsupported",
  // what it names
  "route_not_found",
  "assistant_not_found",
  "graph_not_found",
  "thread_not_found",
  "run_not_found",
  "checkpoint_not_found",
  "copy_source_missing",
  "file_not_found",
  "already_exists",
  // its moment
  "thread_busy",
  "ambiguous_resume",
  "unknown_interrupt",
  "nothing_to_resume",
  "graph_changed",
  // the run
  "lease_lost",
  "run_abandoned",
  "run_cancelled",
  "graph_invalid",
  "durability_required",
  "effect_unknown",
  // the world around
  "model_unavailable",
  "model_error",
  "sandbox_denied",
  "file_refused",
  "tool_denied",
  "shutting_down",
  "database_unavailable",
  "database_changed",
  "database_in_use",
  "checkpoint_unreadable",
  "bad_configuration",
] as const;

export type ErrorCode = (typeof errorCodes)[number];

export class PawlError extends Error {
  override readonly name = "PawlError";
  readonly code: ErrorCode;
  /** Safe to show to a client; never put secrets, SQL or paths of the host here. */
  readonly facts: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: { facts?: Record<string, unknown>; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.code = code;
    this.facts = options.facts ?? {};
  }
}

/** Whether `error` is one of ours, with this code if one is given. By shape, so that a second copy of the module matches. */
export function isPawlError(error: unknown, code?: ErrorCode): error is PawlError {
  return error instanceof Error && error.name === "PawlError" && "code" in error && (!code || error.code === code);
}

/** Anything thrown, as an Error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
