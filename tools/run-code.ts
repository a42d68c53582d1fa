/** What the tools that run code of a model share: the sandbox that may run it, and how its result is told. */
import { selectExecutor } from "./sandbox/select.ts";
import { defaultPolicy, type Language, type RunResult } from "./sandbox/types.ts";
import { openWorkspace } from "./sandbox/workspace.ts";
import { type ToolContext, ToolFailure } from "./tool.ts";
import { policyFor } from "./workspace.ts";

export interface CodeCall {
  readonly language: Language;
  readonly code: string;
  readonly stdin?: string;
  readonly timeoutMs: number;
}

/** On top of the code's own limit, for a guest that has to be started: the model then learns what was printed. */
export const startAllowanceMs = 20_000;

/** Throws `sandbox_denied` when nothing here may run it: the model reads that as DENIED. */
export async function runCode(call: CodeCall, context: ToolContext): Promise<RunResult> {
  const { config, threadId, signal } = context;
  const policy = policyFor(context, { ...defaultPolicy, wallMs: call.timeoutMs });
  const executor = await selectExecutor(call.language, policy.minimum);
  signal.throwIfAborted();
  const session = await executor.open(await openWorkspace(config.dataDir, threadId), policy);
  try {
    const result = await session.run({ ...call, signal });
    if (result.status === "denied") throw new ToolFailure("DENIED", result.stderr);
    return result;
  } finally {
    await session.close();
  }
}

/** A program's result in a terminal's terms. */
export function programResult(result: RunResult): Record<string, unknown> {
  return {
    status: result.status,
    exit_code: result.exitCode,
    output: result.output,
    truncated: result.truncated,
    ...(result.artifact && { full_output: result.artifact }),
    isolation: result.isolation,
    untrusted: true,
  };
}
