/** What the tools that run code of a model share: the sandbox that may run it, and the form of its result. */
import { PawlError } from "../lib/errors.ts";
import { selectExecutor } from "./sandbox/select.ts";
import { defaultPolicy, type Language, type Policy, type RunResult, type Session } from "./sandbox/types.ts";
import { openWorkspace, type Workspace } from "./sandbox/workspace.ts";
import { type ToolContext, ToolFailure } from "./tool.ts";
import { policyFor } from "./workspace.ts";

interface CodeCall {
  readonly language: Language;
  readonly code: string;
  readonly stdin?: string;
  readonly timeoutMs: number;
}

/** On top of the code's own limit, for a guest that has to be started: the model then learns what was printed. */
export const startAllowanceMs = 20_000;

/** Throws `sandbox_denied` when nothing here may run it: the model reads that as DENIED. */
export async function runCode(call: CodeCall, context: ToolContext): Promise<RunResult> {
  const policy = policyOf(call, context);
  const executor = await selectExecutor(call.language, policy.minimum);
  const { result } = await run(call, context, (workspace) => executor.open(workspace, policy));
  return result;
}

/**
 * The same for JavaScript that goes on from the globals in `snapshot`; with those that it has left, or the same object
 * where it left none. Not by a service that the operator has set up: those keep none.
 */
export async function runWithGlobals(
  call: Omit<CodeCall, "language">,
  context: ToolContext,
  snapshot: Uint8Array,
): Promise<{ result: RunResult; snapshot: Uint8Array }> {
  const policy = policyOf(call, context);
  const executor = await selectExecutor("js", policy.minimum, "own");
  const open = async (workspace: Workspace): Promise<Session> => {
    const session = await executor.resume?.(workspace, policy, snapshot);
    return session ?? Promise.reject(new PawlError("sandbox_denied", `The sandbox ${executor.kind} keeps no globals`));
  };
  const ran = await run({ ...call, language: "js" }, context, open);
  return { result: ran.result, snapshot: ran.snapshot ?? snapshot };
}

function policyOf({ timeoutMs }: Pick<CodeCall, "timeoutMs">, context: ToolContext): Policy {
  return policyFor(context, { ...defaultPolicy, wallMs: timeoutMs });
}

async function run(
  call: CodeCall,
  { config, threadId, signal }: ToolContext,
  open: (workspace: Workspace) => Promise<Session>,
): Promise<{ result: RunResult; snapshot: Uint8Array | undefined }> {
  signal.throwIfAborted();
  const session = await open(await openWorkspace(config.dataDir, threadId));
  try {
    const result = await session.run({ ...call, signal });
    if (result.status === "denied") throw new ToolFailure("DENIED", result.stderr);
    return { result, snapshot: await session.snapshot?.() };
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
