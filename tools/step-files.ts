/**
 * A call that works on files, as one step of a thread sees it: before it the folder is brought to the version that the
 * step starts from, after it what is there becomes a version, recorded together with the call's result. A call that
 * did not come to a result changed nothing, whatever it left in the folder.
 */
import type { FileChange, FileVersions } from "../lib/file-versions.ts";
import { FileError } from "./sandbox/paths.ts";
import { inTurn } from "./sandbox/turns.ts";
import { keepVersion, restoreVersion } from "./sandbox/versions.ts";
import { openWorkspace, type Workspace } from "./sandbox/workspace.ts";
import { failed, type ToolOutcome } from "./result.ts";
import type { ToolContext } from "./tool.ts";
import { policyFor } from "./workspace.ts";

export interface FilesOfCall {
  readonly files: FileVersions;
  readonly context: Pick<ToolContext, "config" | "sandbox" | "threadId" | "signal">;
}

/** Calls of one thread take turns, since they share its folder. `work` must not end before all that it started has. */
export async function withStepFiles<T>(of: FilesOfCall, work: (step: StepFiles) => Promise<T>): Promise<T> {
  const { threadId, config, signal } = of.context;
  return inTurn(`call:${threadId}`, async () => {
    signal.throwIfAborted();
    const workspace = await openWorkspace(config.dataDir, threadId);
    const version = await of.files.newest();
    if (version !== null) await restoreVersion(workspace, of.files, version);
    return work(new StepFiles(of, workspace, version));
  });
}

export class StepFiles {
  readonly #of: FilesOfCall;
  readonly #workspace: Workspace;
  readonly #before: string | null;
  #change: FileChange | undefined;

  constructor(of: FilesOfCall, workspace: Workspace, before: string | null) {
    this.#of = of;
    this.#workspace = workspace;
    this.#before = before;
  }

  /** What `keep` has kept. */
  get change(): FileChange | undefined {
    return this.#change;
  }

  /** Keeps the files that `outcome` speaks of. What is more than the limits allow is undone, and the outcome says so. */
  async keep(outcome: ToolOutcome): Promise<ToolOutcome> {
    const { files, context } = this.#of;
    try {
      const version = await keepVersion(this.#workspace, files, policyFor(context));
      this.#change = { checkpointId: files.checkpointId, version };
      return outcome;
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      if (this.#before !== null) await restoreVersion(this.#workspace, files, this.#before);
      return failed("FAILED", `${error.message}; what the call did to the files was undone`);
    }
  }
}
