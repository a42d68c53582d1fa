/**
 * The only place where an error meets HTTP: `{"detail", "code", ...facts}` and a status.
 *
 * The stock SDK re-sends a request after every status but 400-409 and 422. So what will fail again must be one of
 * these, and a request that has changed something must never be answered with a 5xx.
 */
import type { Context, ErrorHandler, NotFoundHandler } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { type ErrorCode, isPawlError, PawlError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";

/** `Record` over the union: a new code does not compile until it has a status. */
const statusOf: Record<ErrorCode, ContentfulStatusCode> = {
  invalid_input: 422,
  invalid_json: 422,
  body_too_large: 413,
  unsupported_media_type: 415,
  forbidden_origin: 403,
  forbidden_host: 403,
  unsupported: 422,
  route_not_found: 404,
  assistant_not_found: 404,
  graph_not_found: 404,
  thread_not_found: 404,
  run_not_found: 404,
  checkpoint_not_found: 404,
  copy_source_missing: 409,
  file_not_found: 404,
  already_exists: 409,
  thread_busy: 409,
  ambiguous_resume: 409,
  unknown_interrupt: 409,
  nothing_to_resume: 409,
  graph_changed: 409,
  lease_lost: 409,
  run_abandoned: 500,
  run_cancelled: 409,
  graph_invalid: 422,
  durability_required: 422,
  effect_unknown: 409,
  model_unavailable: 503,
  model_error: 502,
  sandbox_denied: 403,
  file_refused: 403,
  tool_denied: 403,
  shutting_down: 503,
  database_unavailable: 503,
  database_changed: 503,
  database_in_use: 409,
  checkpoint_unreadable: 409,
  bad_configuration: 500,
};

interface Problem {
  readonly status: ContentfulStatusCode;
  /** What the client gets to read: never SQL, a stack or a path of the host. */
  readonly body: { readonly detail: string; readonly code: string } & Readonly<Record<string, unknown>>;
}

/** Anything thrown, as an answer. What is not ours says nothing about its cause. */
export function toProblem(error: unknown): Problem {
  if (!isPawlError(error)) return { status: 500, body: { detail: "Internal error", code: "internal" } };
  // A code of another version of the module has no status here.
  return { status: statusOf[error.code] ?? 500, body: { ...error.facts, detail: error.message, code: error.code } };
}

/** The same for an answer that has already begun, in the form that clients know from failed runs. */
export function toRunError(thrown: unknown): { error: string; message: string } {
  const { body } = toProblem(thrown);
  return { error: body.code, message: body.detail };
}

export function onError(log: Log): ErrorHandler {
  return (error, c) => {
    const problem = toProblem(error);
    if (problem.status >= 500) log.error({ error, method: c.req.method, path: c.req.path }, problem.body.detail);
    return answer(c, problem);
  };
}

export const onNotFound: NotFoundHandler = (c) =>
  answer(c, toProblem(new PawlError("route_not_found", `There is no ${c.req.method} ${c.req.path}`)));

function answer(c: Context, { status, body }: Problem): Response {
  if (status === 429 || status === 503) c.header("retry-after", "1");
  return c.json(body, status);
}
