/**
 * A sandbox on another machine, through the protocol beside this file. The files of a thread stay here: each run takes
 * a copy along and brings back what it changed, checked like any other write. The other side is not believed: it may
 * be whoever has broken out of it.
 */
import { randomUUID } from "node:crypto";
import { config } from "../../../lib/config.ts";
import { asError, isPawlError, PawlError } from "../../../lib/errors.ts";
import { textOf } from "../input.ts";
import { FileError } from "../paths.ts";
import { outputFactor, Recorder, type RunEnd, runResult } from "../recorder.ts";
import { createSession } from "../session.ts";
import type { Capabilities, Language, Policy, RunRequest, RunResult, Session, ToolExecutor } from "../types.ts";
import { parseUntrusted } from "../wasm/json.ts";
import { copyIn, copyOut, maxTransferMb } from "../wasm/transfer.ts";
import type { Workspace } from "../workspace.ts";
import { listSandboxes, type Remote, RemoteFailure, remoteOf, requireGuarded, runRemotely } from "./connection.ts";
import { type End, Limits, type RunBody } from "./protocol.ts";
import { probeRemote } from "./probe.ts";

/** On top of the wall clock of the code, for a far machine to start it. */
const startMs = 10_000;

export function createRemoteExecutor(): ToolExecutor {
  const closing = new AbortController();
  const open = async (workspace: Workspace, policy: Policy): Promise<Session> => {
    const remote = remoteOf(config().sandboxRemote);
    if (policy.readable.length > 0) throw new PawlError("sandbox_denied", "A remote sandbox has none of our files");
    if (Object.keys(policy.network.headers ?? {}).length > 0)
      throw new PawlError("sandbox_denied", "Headers of the network are secrets, and are not sent to a remote sandbox");
    const around = { remote, workspace, policy, closing: closing.signal };
    return createSession({ isolation: "remote", workspace, policy, run: (request) => run(request, around) });
  };
  return {
    kind: "remote",
    async probe(language): Promise<Capabilities> {
      try {
        const remote = remoteOf(config().sandboxRemote);
        await requireGuarded(remote);
        return await probeRemote(open, await listSandboxes(remote), language);
      } catch (error) {
        if (!(error instanceof RemoteFailure) && !isPawlError(error, "sandbox_denied")) throw error;
        return { available: false, languages: [], reason: asError(error).message };
      }
    },
    open,
    close: () => {
      closing.abort();
      return Promise.resolve();
    },
  };
}

interface Around {
  readonly remote: Remote;
  readonly workspace: Workspace;
  readonly policy: Policy;
  readonly closing: AbortSignal;
}

type Ending = Omit<RunEnd, "durationMs">;

async function run(request: RunRequest, around: Around): Promise<RunResult> {
  const started = performance.now();
  const recorder = new Recorder(around.policy, request.onOutput);
  const end = await endOf(request, recorder, around);
  const durationMs = performance.now() - started;
  return runResult(recorder, { ...end, durationMs }, { ...around, isolation: "remote" });
}

async function endOf(request: RunRequest, recorder: Recorder, around: Around): Promise<Ending> {
  const { policy, workspace } = around;
  const timeoutMs = Math.min(request.timeoutMs ?? policy.wallMs, policy.wallMs);
  const stopped = AbortSignal.any([around.closing, ...(request.signal ? [request.signal] : [])]);
  const late = AbortSignal.timeout(timeoutMs + startMs);
  let hasBegun = false;
  try {
    if (stopped.aborted) return { status: "killed", exitCode: null };
    const body = await bodyOf(request, around, timeoutMs);
    const signal = AbortSignal.any([stopped, late]);
    for await (const line of runRemotely(around.remote, {
      id: randomUUID(),
      body,
      maxBytes: maxAnswer(policy),
      signal,
    })) {
      hasBegun = true;
      if (line.type === "output") recorder.write(line.stream, Buffer.from(line.text));
      if (recorder.isOverLimit) return { status: "output_limit", exitCode: null };
      if (line.type === "end") return await shape(line, workspace, policy);
    }
    return lost("The remote sandbox broke off", hasBegun);
  } catch (error) {
    if (stopped.aborted) return { status: "killed", exitCode: null };
    if (late.aborted) return { status: "timeout", exitCode: null };
    if (error instanceof RemoteFailure) return lost(error.message, hasBegun);
    if (error instanceof FileError || isPawlError(error, "sandbox_denied")) return denied(error.message);
    throw error;
  }
}

const denied = (note: string): Ending => ({ status: "denied", exitCode: null, note });

/** Once code ran there it is not true that nothing happened. */
const lost = (note: string, hasBegun: boolean): Ending =>
  hasBegun ? { status: "killed", exitCode: null, note: `${note}; no file was changed` } : denied(note);

async function bodyOf(request: RunRequest, { workspace, policy }: Around, timeoutMs: number): Promise<RunBody> {
  const { folders, files, contents } = await copyIn(workspace);
  return {
    language: request.language satisfies Language,
    code: request.code,
    stdin: textOf(request),
    cwd: request.cwd ?? "/workspace",
    timeout_ms: Math.max(1, Math.trunc(timeoutMs)),
    limits: Limits.parse(policy),
    ...(Object.keys(policy.env).length > 0 && { env: { ...policy.env } }),
    ...(policy.network.allow.length > 0 && { hosts: [...policy.network.allow] }),
    folders: [...folders],
    files: files.map(({ path }, index) => ({ path, content: contents[index]!.toString("base64") })),
  };
}

/** Base64 takes four bytes for three; the rest is JSON around it, and heartbeats. */
function maxAnswer({ outputBytes, resultBytes }: Policy): number {
  return 2 * maxTransferMb * 1_024 * 1_024 + 6 * (outputFactor * outputBytes + resultBytes) + 1_024 * 1_024;
}

async function shape(end: End, workspace: Workspace, policy: Policy): Promise<Ending> {
  const contents = end.files.map(({ content }) => Buffer.from(content, "base64"));
  const files = end.files.map(({ path }, index) => ({ path, size: contents[index]!.length }));
  const problem = await copyOut(workspace, { ...end, files, contents }, policy);
  if (problem) return { status: "output_limit", exitCode: null, note: `The files were not kept: ${problem}` };
  const plain = { status: end.status, exitCode: end.exit_code, ...(end.note && { note: end.note }) };
  return end.value === undefined ? plain : { ...plain, ...valueOf(end.value, policy) };
}

function valueOf(json: string, { resultBytes }: Policy): Pick<RunEnd, "value"> | Pick<RunEnd, "status" | "note"> {
  if (Buffer.byteLength(json) > resultBytes) return { status: "output_limit", note: "The result is too large" };
  try {
    return { value: parseUntrusted(json) };
  } catch (error) {
    return { status: "error", note: asError(error).message };
  }
}
