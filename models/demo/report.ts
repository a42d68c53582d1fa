/** Puts into words what the demo model's calls have led to. */

/** A call that was made since the user spoke, and what came of it. */
export interface Done {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly output: string;
}

/** Longer outputs are shortened in the answer. */
const MAX_QUOTE = 500;

/** What a tool wraps its result in; code that ran has a status of its own inside. */
interface Wrapped {
  readonly status?: unknown;
  readonly message?: unknown;
  readonly result?: unknown;
}

/** Tool messages carry no status on the wire: it is in their JSON, or else told by their first words. */
export function failed(output: string): boolean {
  const wrapped = objectIn(output);
  if (!wrapped) return /^\W*(?:error|failed|rejected|denied|refused|cancell?ed|not executed)\b/i.test(output);
  return isFailure(wrapped.status) || isFailure((wrapped.result as Wrapped | null | undefined)?.status);
}

/** What is worth saying of an output: the value, the text or the message inside; else all of it. */
export function resultOf(output: string): string {
  const wrapped = objectIn(output);
  const result = wrapped?.result ?? wrapped?.message ?? output;
  const { value, content, text, local, error, files } = Object(result) as Record<string, unknown>;
  const telling = error ?? value ?? content ?? text ?? local ?? namesOf(files) ?? result;
  return typeof telling === "string" ? telling : JSON.stringify(telling);
}

/** One sentence a call. What failed is said to have failed, in the tool's words. */
export function reportOf(done: readonly Done[]): string {
  return done.map(sentenceOf).join(" ");
}

function sentenceOf({ name, args, output }: Done): string {
  const result = quote(resultOf(output));
  if (failed(output)) return `The call of ${name} did not succeed. The tool says: ${result}`;
  switch (name) {
    case "run_javascript":
      return `The result of ${String(args["code"])} is ${result}.`;
    case "current_time":
      return `The time is ${result}.`;
    case "read_file":
      return `${String(args["file_path"])} says: ${result}`;
    case "write_file":
      return `I wrote ${String(args["file_path"])}.`;
    case "ls":
      return `The files are: ${result}`;
    case "fetch_url":
      return `${String(args["url"])} says: ${result}`;
    case "send_email":
      return `I sent the e-mail to ${String(args["to"])}. The tool says: ${result}`;
    default:
      return `${name} says: ${result}`;
  }
}

/** What a listing of files says. */
function namesOf(files: unknown): string | undefined {
  if (!Array.isArray(files)) return undefined;
  return files.map((file: { path?: unknown }) => String(file.path)).join(", ") || "none";
}

function isFailure(status: unknown): boolean {
  return typeof status === "string" && status !== "ok" && status !== "success";
}

function objectIn(output: string): Wrapped | undefined {
  try {
    const value: unknown = JSON.parse(output);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function quote(text: string): string {
  const trimmed = text.trim();
  return trimmed.length > MAX_QUOTE ? `${trimmed.slice(0, MAX_QUOTE)}...` : trimmed;
}
