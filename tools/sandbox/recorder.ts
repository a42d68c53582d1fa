/** What a run printed and how it ended, as the result that a model reads. */
import { randomUUID } from "node:crypto";
import { writeWorkspaceFile } from "./files.ts";
import { Capture, LiveText, plainText } from "./output.ts";
import { FileError, guestRoot } from "./paths.ts";
import type { Isolation, OutputChunk, Policy, RunResult, RunStatus } from "./types.ts";
import type { WorkspaceLimits } from "./usage.ts";
import type { Workspace } from "./workspace.ts";

/** A guest that prints this many times what is kept is stopped. */
export const outputFactor = 10;

type Stream = OutputChunk["stream"];

/** Takes the output as it comes. Keeps its beginning and end, and all of it (bounded) for the file. */
export class Recorder {
  readonly #captures: Readonly<Record<Stream | "both", Capture>>;
  readonly #live: Readonly<Record<Stream, LiveText>> | undefined;
  readonly #all: Buffer[] = [];
  readonly #limit: number;

  constructor(policy: Pick<Policy, "outputBytes">, onOutput?: (chunk: OutputChunk) => void) {
    const capture = (): Capture => new Capture(policy.outputBytes);
    this.#captures = { stdout: capture(), stderr: capture(), both: capture() };
    this.#limit = policy.outputBytes * outputFactor;
    const live = (stream: Stream): LiveText => new LiveText((text) => onOutput?.({ stream, text }));
    this.#live = onOutput && { stdout: live("stdout"), stderr: live("stderr") };
  }

  write(stream: Stream, chunk: Buffer): void {
    if (this.#captures.both.total < this.#limit) this.#all.push(chunk);
    this.#captures[stream].write(chunk);
    this.#captures.both.write(chunk);
    this.#live?.[stream].write(chunk);
  }

  /** Time to stop the guest. */
  get isOverLimit(): boolean {
    return this.#captures.both.total > this.#limit;
  }

  get bytesDropped(): number {
    return this.#captures.both.bytesDropped;
  }

  text(of: Stream | "both"): string {
    return plainText(this.#captures[of].text());
  }

  /** As plain text too: a person may open the file in a terminal. */
  all(): Buffer {
    return Buffer.from(plainText(Buffer.concat(this.#all).toString()));
  }

  end(): void {
    this.#live?.stdout.end();
    this.#live?.stderr.end();
  }
}

export interface RunEnd {
  readonly status: RunStatus;
  readonly exitCode: number | null;
  readonly durationMs: number;
  /** The structured result, if there is one. */
  readonly value?: unknown;
  /** See `RunResult`; false if absent. */
  readonly isGrouped?: boolean;
  /** What went wrong, where the guest did not print that itself. Without one, a status other than ok explains itself. */
  readonly note?: string | undefined;
}

const explanations: Readonly<Record<RunStatus, string>> = {
  ok: "",
  error: "",
  timeout: "The code ran into its time limit",
  oom: "The code ran out of memory",
  killed: "The code was stopped",
  output_limit: "The code printed too much",
  denied: "The sandbox refused",
};

/** Writes the whole output into the workspace where it was cut, and shapes the result. */
export async function runResult(
  recorder: Recorder,
  end: RunEnd,
  { workspace, policy, isolation }: { workspace: Workspace; policy: Policy; isolation: Isolation },
): Promise<RunResult> {
  recorder.end();
  const artifact = recorder.bytesDropped > 0 ? await keepAll(recorder, workspace, policy) : undefined;
  const note = plainText(end.note ?? explanations[end.status]);
  const mark = (text: string): string =>
    artifact ? text.replace(/\n\.\.\. \[(\d+ bytes dropped)\]\n/, `\n... [$1; full output: ${artifact}]\n`) : text;
  return {
    status: end.status,
    output: joined(mark(recorder.text("both")), note),
    stdout: recorder.text("stdout"),
    stderr: joined(recorder.text("stderr"), note),
    ...("value" in end && { value: end.value }),
    exitCode: end.exitCode,
    truncated: recorder.bytesDropped > 0 || end.status === "output_limit",
    bytesDropped: recorder.bytesDropped,
    ...(artifact && { artifact }),
    durationMs: Math.round(end.durationMs),
    isolation,
    isGrouped: end.isGrouped ?? false,
  };
}

/** Where the workspace is full, or a guest made `.out` a link, the output is only cut. */
async function keepAll(recorder: Recorder, workspace: Workspace, policy: WorkspaceLimits): Promise<string | undefined> {
  const path = `${guestRoot}/.out/${randomUUID()}`;
  try {
    await writeWorkspaceFile(workspace, { path, content: recorder.all() }, policy);
    return path;
  } catch (error) {
    if (error instanceof FileError) return undefined;
    throw error;
  }
}

function joined(printed: string, note: string): string {
  return [printed.trimEnd(), note].filter((part) => part !== "").join("\n");
}
