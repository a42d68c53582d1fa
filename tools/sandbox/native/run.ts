/**
 * One run of a native guest: what it prints, what it uses, and what ends it. How it is boxed is the executor's; here are
 * the limits that the kernel does not keep by itself.
 */
import type { Group } from "../cgroup/group.ts";
import { Recorder, runResult } from "../recorder.ts";
import type { Isolation, OutputChunk, Policy, RunRequest, RunResult, RunStatus } from "../types.ts";
import { excessOf, type Usage as FileUsage, usageOf } from "../usage.ts";
import type { Workspace } from "../workspace.ts";
import { buriedCpuMs, type Usage, usageOfDescendants } from "./processes.ts";

export interface GuestExit {
  readonly code: number | null;
  readonly signal: string | null;
  /** It could not be started. */
  readonly error?: string | undefined;
}

/** A guest that runs. */
export interface Guest {
  /** All that it started are descendants of this process, which is not the guest's own. */
  readonly ancestor: number;
  /** When neither it nor anything that it started is left, and all output was handed over. */
  readonly ended: Promise<GuestExit>;
  /** SIGKILL to all of it. */
  kill(): void;
}

interface RunContext {
  readonly isolation: Isolation;
  readonly workspace: Workspace;
  readonly policy: Policy;
  /** Of the sandbox's own processes between `Guest.ancestor` and the guest. */
  readonly overhead?: { readonly processes: number; readonly memoryMb: number };
  /** The group of the guest's processes, where the machine has groups. */
  readonly group?: Pick<Group, "oomKills"> | undefined;
  /** A folder that is not in the workspace, but counts. */
  readonly temporary?: string;
  start(onOutput: (stream: OutputChunk["stream"], chunk: Buffer) => void): Promise<Guest>;
}

interface Verdict {
  readonly status: RunStatus;
  readonly note?: string;
}

/** How often memory, processes and CPU time are looked at. */
const watchMs = 100;
/** How often the files are counted; less often when counting takes long. */
const filesMs = 250;
/** Counting takes at most one part in so many of the time. */
const filesShare = 4;

export async function runGuest(request: RunRequest, context: RunContext): Promise<RunResult> {
  const { policy } = context;
  const recorder = new Recorder(policy, request.onOutput);
  const started = performance.now();
  const isGrouped = context.group !== undefined;
  const finish = (verdict: Verdict, exitCode: number | null = null): Promise<RunResult> =>
    runResult(recorder, { ...verdict, exitCode, durationMs: performance.now() - started, isGrouped }, context);
  if (request.signal?.aborted) return finish({ status: "killed" });
  const before = await filesOf(context);
  // An earlier guest may have had the same group.
  const oomKillsBefore = context.group?.oomKills() ?? 0;
  const isOutOfMemory = (): boolean => (context.group?.oomKills() ?? 0) > oomKillsBefore;

  let verdict: Verdict | undefined;
  let guest: Guest | undefined;
  let buriedBefore = 0;
  const stop = (because: Verdict): void => {
    verdict ??= because;
    guest?.kill();
  };
  const check = (): Promise<Verdict | undefined> => fileVerdict(context, before);
  using _ = boundaries(request, context, {
    stop,
    check,
    usage: () => guest && usageSince(guest, buriedBefore),
    isOutOfMemory,
  });
  try {
    guest = await context.start((stream, chunk) => {
      recorder.write(stream, chunk);
      if (recorder.isOverLimit) stop({ status: "output_limit" });
    });
  } catch (error) {
    return finish(verdict ?? { status: "denied", note: error instanceof Error ? error.message : "It did not start" });
  }
  buriedBefore = buriedCpuMs(guest.ancestor);
  if (verdict) guest.kill(); // while it started
  const exit = await guest.ended;
  if (isOutOfMemory()) verdict ??= { status: "oom" };
  verdict ??= verdictOf(exit, recorder.text("stderr")) ?? (await check());
  return finish(verdict ?? { status: exit.code === 0 ? "ok" : "error" }, exit.code);
}

/** What the way it ended tells by itself. */
function verdictOf({ code, signal, error }: GuestExit, stderr: string): Verdict | undefined {
  if (error !== undefined) return { status: "denied", note: "The sandbox could not start it" };
  if (signal === "SIGXCPU" || code === shellCode.cpu) return { status: "timeout" };
  if (signal === "SIGXFSZ" || code === shellCode.fileSize)
    return { status: "output_limit", note: "A file became too large" };
  if (signal !== null) return { status: "killed", note: `It ended by ${signal}` };
  return ranOutOfMemory.test(stderr) ? { status: "oom" } : undefined;
}

/** How a shell, and bwrap, report what SIGXCPU and SIGXFSZ ended. */
const shellCode = { cpu: 128 + 24, fileSize: 128 + 25 };

/** The last words of Python and Node when the kernel refuses them memory. */
const ranOutOfMemory = /(?:^|\n)(?:MemoryError\s*$|.*JavaScript heap out of memory)/;

/** Too much is a verdict only if it became more: a guest must be able to delete what another one left. */
async function fileVerdict(context: RunContext, before: FileUsage): Promise<Verdict | undefined> {
  const now = await filesOf(context);
  const note = excessOf(now, context.policy);
  const isMore = now.bytes > before.bytes || now.files > before.files;
  return note !== undefined && isMore ? { status: "output_limit", note } : undefined;
}

function filesOf({ workspace, temporary, policy }: RunContext): Promise<FileUsage> {
  return usageOf([workspace.root, ...(temporary ? [temporary] : [])], policy);
}

/** The ancestor may have buried earlier guests. */
function usageSince({ ancestor }: Guest, buriedBefore: number): Usage {
  const usage = usageOfDescendants(ancestor);
  return { ...usage, cpuMs: usage.cpuMs - buriedBefore };
}

interface Control {
  readonly stop: (because: Verdict) => void;
  /** Whether the files are too many. */
  readonly check: () => Promise<Verdict | undefined>;
  readonly usage: () => Usage | undefined;
  readonly isOutOfMemory: () => boolean;
}

/** Everything that may end a run, until disposed of. */
function boundaries(request: RunRequest, { policy, overhead }: RunContext, control: Control): Disposable {
  const { signal } = request;
  const { stop, usage, isOutOfMemory } = control;
  const onAbort = (): void => stop({ status: "killed" });
  signal?.addEventListener("abort", onAbort, { once: true });
  const wallMs = Math.min(request.timeoutMs ?? policy.wallMs, policy.wallMs);
  const wall = setTimeout(() => stop({ status: "timeout" }), wallMs);
  const watch = setInterval(() => {
    const now = usage();
    if (!now) return;
    const { processes, memoryMb, cpuMs } = now;
    // The kernel ends one process; the others would go on without it.
    if (isOutOfMemory() || memoryMb > policy.memMb + (overhead?.memoryMb ?? 0)) stop({ status: "oom" });
    if (processes > policy.procs + (overhead?.processes ?? 0))
      stop({ status: "killed", note: `It started more than ${policy.procs} processes` });
    if (cpuMs > policy.cpuMs) stop({ status: "timeout", note: "It used more CPU time than it may" });
  }, watchMs);
  const counting = countRepeatedly(control);
  return {
    [Symbol.dispose]() {
      signal?.removeEventListener("abort", onAbort);
      clearTimeout(wall);
      clearInterval(watch);
      counting.end();
    },
  };
}

function countRepeatedly({ check, stop }: Control): { end(): void } {
  let [ended, timer] = [false, setTimeout(() => void count(), filesMs)];
  const count = async (): Promise<void> => {
    const started = performance.now();
    // What cannot be counted is counted again after the run, where an error is one.
    const verdict = await check().catch(() => undefined);
    if (ended) return;
    if (verdict) stop(verdict);
    else timer = setTimeout(() => void count(), Math.max(filesMs, filesShare * (performance.now() - started)));
  };
  return {
    end: () => {
      ended = true;
      clearTimeout(timer);
    },
  };
}
