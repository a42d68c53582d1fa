/**
 * A call that goes on from the JavaScript globals of its step. They are kept in the version of the thread's files, so
 * that forks, copies and other machines have those of the step that they go on from; what the call leaves is recorded
 * together with its result.
 */
import { type FileChange, globalsPath, hashOf, noFiles, type VersionEntry } from "../lib/file-versions.ts";
import { inTurn } from "./sandbox/turns.ts";
import type { FilesOfCall, Step } from "./step-files.ts";
import type { ToolOutcome } from "./result.ts";
import type { KeptGlobals } from "./tool.ts";

/** Takes turns with the calls that use the thread's files. `work` must not end before all that it started has. */
export async function withStepGlobals<T>(
  of: FilesOfCall,
  work: (step: StepGlobals | undefined) => Promise<T>,
): Promise<T> {
  return inTurn(`call:${of.context.threadId}`, async () => {
    of.context.signal.throwIfAborted();
    const version = await of.files.newest();
    // Of files that nobody knows no version can be made.
    if (version === null) return work(undefined);
    const entries = version === noFiles ? [] : await of.files.entries(version);
    const kept = entries.find(({ path }) => path === globalsPath);
    const snapshot = kept?.hash ? await of.files.content(kept.hash) : Buffer.alloc(0);
    return work(new StepGlobals(of, entries, snapshot));
  });
}

class StepGlobals implements Step, KeptGlobals {
  readonly snapshot: Uint8Array;
  readonly #of: FilesOfCall;
  readonly #entries: readonly VersionEntry[];
  #left: Uint8Array | undefined;
  #change: FileChange | undefined;

  constructor(of: FilesOfCall, entries: readonly VersionEntry[], snapshot: Uint8Array) {
    this.#of = of;
    this.#entries = entries;
    this.snapshot = snapshot;
  }

  get change(): FileChange | undefined {
    return this.#change;
  }

  leave(snapshot: Uint8Array): void {
    this.#left = snapshot;
  }

  async keep(outcome: ToolOutcome): Promise<ToolOutcome> {
    if (!this.#left) return outcome;
    const { files } = this.#of;
    const content = Buffer.from(this.#left);
    const [hash, size] = [hashOf(content), content.length];
    await files.addContent(hash, content);
    const others = this.#entries.filter(({ path }) => path !== globalsPath);
    const version = await files.addVersion([...others, { path: globalsPath, hash, size, executable: false }]);
    this.#change = { checkpointId: files.checkpointId, version };
    return outcome;
  }
}
