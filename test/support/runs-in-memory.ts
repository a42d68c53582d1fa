/** Just enough of `Runs` to see what HTTP makes of it: one run, whose events and end the test decides. */
import { EventEmitter, once } from "node:events";
import { PawlError } from "../../lib/errors.ts";
import { assistantIdOf, RunId, ThreadId, uuidv7 } from "../../lib/ids.ts";
import type { CreateOptions, Run, RunCreate, RunEvent, RunOutcome, RunRef, Runs } from "../../runs/index.ts";

export class RunsInMemory implements Runs {
  readonly run: Run = {
    run_id: RunId.parse(uuidv7()),
    thread_id: ThreadId.parse(uuidv7()),
    assistant_id: assistantIdOf("agent"),
    status: "pending",
    metadata: {},
    kwargs: { config: { configurable: {} }, stream_mode: ["values"], stream_subgraphs: false, durability: "sync" },
    multitask_strategy: "enqueue",
    attempt: 1,
    created_at: new Date(0),
    updated_at: new Date(0),
  };
  readonly created: { body: RunCreate; options: CreateOptions }[] = [];
  /** Emits each call by its name. */
  readonly calls = new EventEmitter();
  events_: RunEvent[] = [];
  /** Resolves when the run has ended. */
  end: Promise<RunOutcome> = Promise.resolve({ status: "success", values: { answer: 42 } });
  /** What happens to the client while its run is being created. */
  whileCreating: () => Promise<unknown> = async () => {};
  /** Thrown behind the events. */
  failure: Error | undefined;

  async create(_principal: unknown, body: RunCreate, options: CreateOptions): Promise<Run> {
    await this.whileCreating();
    this.created.push({ body, options });
    this.#called("create", body);
    return this.run;
  }

  async answered(_runId: RunId, wasDelivered: boolean): Promise<void> {
    this.#called("answered", wasDelivered);
  }

  async get(_principal: unknown, ref: RunRef): Promise<Run> {
    this.#mustExist(ref);
    return this.run;
  }

  async list(_principal: unknown, _threadId: ThreadId, page: unknown): Promise<Run[]> {
    this.#called("list", page);
    return [this.run];
  }

  async cancel(_principal: unknown, ref: RunRef, options: unknown): Promise<void> {
    this.#mustExist(ref);
    this.#called("cancel", options);
  }

  async delete(_principal: unknown, ref: RunRef): Promise<void> {
    this.#mustExist(ref);
    this.#called("delete", ref);
  }

  async events(_principal: unknown, ref: RunRef, options: { after?: string; signal: AbortSignal }) {
    this.#mustExist(ref);
    this.#called("events", options);
    return this.#follow(options.signal);
  }

  async join(_principal: unknown, ref: RunRef): Promise<RunOutcome> {
    this.#mustExist(ref);
    return this.end;
  }

  async *#follow(signal: AbortSignal): AsyncGenerator<RunEvent> {
    yield* this.events_;
    if (this.failure) throw this.failure;
    const left = once(signal, "abort").then(() => this.#called("left", undefined));
    await Promise.race([this.end, left]);
  }

  #called(name: string, argument: unknown): void {
    this.calls.emit(name, argument);
  }

  #mustExist({ runId }: RunRef): void {
    if (runId !== this.run.run_id) throw new PawlError("run_not_found", `No run ${runId}`);
  }
}
