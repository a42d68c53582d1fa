/** What a guest reads: at once, or bit by bit. */
import { FileError } from "./paths.ts";
import type { RunRequest } from "./types.ts";

/** For sandboxes that take all of it at the start. Throws a refusal for a program that is to be talked to. */
export function textOf({ stdin = "" }: Pick<RunRequest, "stdin">): string {
  if (typeof stdin === "string") return stdin;
  throw new FileError("permission_denied", "This sandbox takes its input at the start");
}
