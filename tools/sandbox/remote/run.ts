/** One run on the other side: lays out the files that came with it, runs, and says what changed. */
import { createHash } from "node:crypto";
import { isPawlError, PawlError } from "../../../lib/errors.ts";
import { makeWorkspaceFolder, writeWorkspaceFile } from "../files.ts";
import { FileError } from "../paths.ts";
import { narrowed } from "../policy.ts";
import { defaultPolicy, type OutputChunk, type Policy, type RunResult, type ToolExecutor } from "../types.ts";
import { type Copy, copyIn } from "../wasm/transfer.ts";
import type { Workspace } from "../workspace.ts";
import type { End, Line, RunBody } from "./protocol.ts";

export interface Here {
  readonly executor: ToolExecutor;
  /** Empty, and for this run alone. */
  readonly workspace: Workspace;
  /** Of this machine's operator, by the same words as a policy's. */
  readonly allowedHosts: readonly string[];
  readonly signal: AbortSignal;
  readonly say: (line: Line) => unknown;
}

/** Throws `sandbox_denied` where the executor cannot keep what is asked, or this machine does not allow it. */
export async function runHere(body: RunBody, { executor, workspace, allowedHosts, signal, say }: Here): Promise<End> {
  const { env = {}, hosts = [] } = body;
  const refused = hosts.find((host) => !allowedHosts.includes(host));
  if (refused !== undefined)
    throw new PawlError("sandbox_denied", `The remote sandbox does not allow the host ${refused}`);
  const policy: Policy = {
    ...narrowed({ ...defaultPolicy, wallMs: maxWallMs }, body.limits),
    env,
    network: { allow: hosts },
  };
  try {
    for (const path of body.folders) await makeWorkspaceFolder(workspace, path);
    for (const { path, content } of body.files)
      await writeWorkspaceFile(workspace, { path, content: Buffer.from(content, "base64") }, policy);
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    return { ...unchanged, status: "denied", exit_code: null, note: error.message };
  }
  const before = digestsOf(await copyIn(workspace));
  let printed = "";
  const onOutput = ({ stream, text }: OutputChunk): void => {
    if (stream === "stderr") printed += text;
    for (let at = 0; at < text.length; at += maxText)
      say({ type: "output", stream, text: text.slice(at, at + maxText) });
  };
  const session = await executor.open(workspace, policy);
  try {
    const { language, code, stdin, cwd, timeout_ms: timeoutMs } = body;
    const result = await session.run({ language, code, stdin, cwd, timeoutMs, signal, onOutput });
    const end = endOf(result, printed);
    const after = await copyIn(workspace).catch(tooLarge);
    if (after) return { ...end, ...changesOf(before, after) };
    return {
      ...end,
      ...unchanged,
      status: "output_limit",
      note: "The files are too many or too large to be sent back",
    };
  } finally {
    await session.close();
  }
}

/** Of one line: below what a caller takes. */
const maxText = 64 * 1_024;

/** The caller's clock, which is narrower, counts. */
const maxWallMs = 3_600_000;

const unchanged = { type: "end", folders: [], files: [], deleted: [] } as const satisfies Partial<End>;

function endOf({ status, exitCode, value, stderr }: RunResult, printed: string) {
  const said = printed.trimEnd();
  const note = stderr.startsWith(said) ? stderr.slice(said.length).trim() : "";
  return {
    type: "end",
    status,
    exit_code: exitCode,
    ...(value !== undefined && { value: JSON.stringify(value) }),
    ...(note && { note }),
  } as const;
}

/** Of the files that a guest left behind, when they cannot be taken along. */
function tooLarge(error: unknown): undefined {
  if (!(error instanceof FileError) && !isPawlError(error, "sandbox_denied")) throw error;
  return undefined;
}

type Digests = ReadonlyMap<string, string>;

const folderMark = "folder";

function digestsOf({ folders, files, contents }: Copy): Digests {
  return new Map([
    ...folders.map((path) => [path, folderMark] as const),
    ...files.map(({ path }, index) => [path, digest(contents[index]!)] as const),
  ]);
}

const digest = (content: Buffer): string => createHash("sha256").update(content).digest("hex");

function changesOf(before: Digests, after: Copy): Pick<End, "folders" | "files" | "deleted"> {
  const now = digestsOf(after);
  // What is gone, and what became a file where a folder was or the other way round.
  const deleted = [...before].filter(([path, was]) => {
    const is = now.get(path);
    return is === undefined || (is === folderMark) !== (was === folderMark);
  });
  const gone = new Set(deleted.map(([path]) => path));
  const files = after.files.flatMap(({ path }, index) =>
    before.get(path) === now.get(path) ? [] : [{ path, content: after.contents[index]!.toString("base64") }],
  );
  return {
    // Its folder takes it along.
    deleted: [...gone].filter((path) => !gone.has(path.split("/").slice(0, -1).join("/"))),
    folders: after.folders.filter((path) => before.get(path) !== folderMark),
    files,
  };
}
