/** What clients are told about an error of a run: the graph's own errors as they are, ours by code, the database's not at all. */
import pg from "pg";
import { isPawlError } from "../lib/errors.ts";
import type { RunError } from "./run.ts";

/** The name under which the server's own failures reach clients; what it was is in the log. */
export const INTERNAL = "InternalError";

export function runErrorOf(error: Error): RunError {
  if (isPawlError(error)) return { error: error.code, message: error.message };
  if (isInternal(error)) return { error: INTERNAL, message: "The server could not go on with this run" };
  return { error: error.name, message: error.message };
}

/** SQL and addresses of the database must not reach a client, whoever wrapped them. */
function isInternal(error: Error): boolean {
  if (error instanceof pg.DatabaseError) return true;
  return error.cause instanceof Error && isInternal(error.cause);
}
