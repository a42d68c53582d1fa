/**
 * A call that works on files, as one step of a thread sees it: before it the folder is brought to the version that the
 * step starts from, after it what is there becomes a version, recorded together with the call's result. A call that
 * did not come to a result changed nothing, whatever it left in the folder.
 */
import type { FileChange, FileVersions, VersionEntry } from "../lib/file-versions.ts";
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
export async function withStepFiles<T>(of: FilesOfCall, work: (step: Step) => Promise<T>): Promise<T> {
  const { threadId, config, signal } = of.context;
  return inTurn(`call:${threadId}`, async () => {
    signal.throwIfAborted();
    const workspace = await openWorkspace(config.dataDir, threadId);
    const version = await of.files.newest();
    const beside = version === null ? [] : await restoreVersion(workspace, of.files, version);
    return work(new StepFiles(of, workspace, { version, beside }));
  });
}

/** A call's change of what belongs to its step. */
export interface Step {
  /** What `keep` has kept. */
  readonly change: FileChange | undefined;
  /** Keeps what `outcome` speaks of. What is more than the limits allow is undone, and the outcome says so. */
  keep(outcome: ToolOutcome): Promise<ToolOutcome>;
}

interface Before {
  readonly version: string | null;
  readonly beside: readonly VersionEntry[];
}

class StepFiles implements Step {
  readonly #of: FilesOfCall;
  readonly #workspace: Workspace;
  readonly #before: Before;
  #change: FileChange | undefined;

  constructor(of: FilesOfCall, workspace: Workspace, before: Before) {
    this.#of = of;
    this.#workspace = workspace;
    this.#before = before;
  }

  get change(): FileChange | undefined {
    return this.#change;
  }

  async keep(outcome: ToolOutcome): Promise<ToolOutcome> {
    const { files, context } = this.#of;
    try {
      const kept = { limits: policyFor(context), beside: this.#before.beside };
      const version = await keepVersion(this.#workspace, files, kept);
      this.#change = { checkpointId: files.checkpointId, version };
      return outcome;
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      if (this.#before.version !== null) await restoreVersion(this.#workspace, files, this.#before.version);
      return failed("FAILED", `${error.message}; what the call did to the files was undone`);
    }
  }
}
