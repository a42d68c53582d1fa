/** The runs that this process executes now, and the ways to stop them. */
import { RunControl } from "@langchain/langgraph";
import { type AttemptContext, attemptRun, type RunHandle } from "./attempt.ts";
import type { ClaimedRun } from "./claim.ts";
import { Stop, type StopCause } from "./stop.ts";

export class ExecutingRuns {
  readonly #context: Omit<AttemptContext, "workerId">;
  readonly #onEnd: (mayClaimMore: boolean) => void;
  readonly #handles = new Map<string, RunHandle>();
  readonly #attempts = new Set<Promise<void>>();

  /** Calls `onEnd` after each attempt; with true if another run of its thread, or the run itself, may be claimed now. */
  constructor(context: Omit<AttemptContext, "workerId">, onEnd: (mayClaimMore: boolean) => void) {
    this.#context = context;
    this.#onEnd = onEnd;
  }

  get size(): number {
    return this.#handles.size;
  }

  /** Those that execute at this moment. */
  handles(): readonly RunHandle[] {
    return [...this.#handles.values()];
  }

  handleOf(runId: string): RunHandle | undefined {
    return this.#handles.get(runId);
  }

  /** Makes one attempt at a run that `workerId`, this process's worker, has claimed. Never rejects. */
  execute(run: ClaimedRun, workerId: string): Promise<void> {
    const handle: RunHandle = { run, stopping: new AbortController(), control: new RunControl() };
    this.#handles.set(run.run_id, handle);
    const log = this.#context.log.child({ worker: workerId });
    const attempt = attemptRun({ ...this.#context, log, workerId }, handle).then((mayClaimMore) => {
      // A run that was given back may have been claimed again by now: then the handle is the next attempt's.
      if (this.#handles.get(run.run_id) === handle) this.#handles.delete(run.run_id);
      this.#attempts.delete(attempt);
      this.#onEnd(mayClaimMore);
    });
    this.#attempts.add(attempt);
    return attempt;
  }

  /** Asks the graphs to stop at their next step. */
  drain(): void {
    for (const { control } of this.#handles.values()) control.requestDrain("shutdown");
  }

  stopAll(cause: StopCause): void {
    for (const { stopping } of this.#handles.values()) stopping.abort(new Stop(cause));
  }

  /** They count no more, though what is left of them may still wait for answers that never come. */
  forget(): void {
    this.#handles.clear();
  }

  /** Resolves when the attempts that are under way have ended, forgotten ones too. */
  async ended(): Promise<void> {
    await Promise.all(this.#attempts);
  }
}
