/**
 * Live events of the runs that execute in this process, so that a subscriber here need not go through the database.
 * A channel keeps what is not yet in the log: whoever subscribes gets that and all that follows, and reads the rest
 * from the log. That leaves no gap, only repetitions, which readers drop by `seq`.
 */
import type { RunOutcome } from "../index.ts";

export interface LoggedEvent {
  readonly seq: bigint;
  readonly event: string;
  readonly data: unknown;
}

export type Notice = { readonly event: LoggedEvent } | { readonly outcome: RunOutcome } | { readonly reread: true };

type Subscriber = (notice: Notice) => void;

export class Hub {
  readonly #subscribers = new Map<string, Set<Subscriber>>();
  /** The runs that execute here, with what is not in the log yet. */
  readonly #unlogged = new Map<string, LoggedEvent[]>();

  /** This process executes the run from now on. What others wrote before, if anyone did, is in the log: subscribers read that first. */
  open(runId: string, { isFirst }: { isFirst: boolean }): void {
    this.#unlogged.set(runId, []);
    if (!isFirst) this.#tell(runId, { reread: true });
  }

  /** Whether subscribers hear everything from here. */
  isLive(runId: string): boolean {
    return this.#unlogged.has(runId);
  }

  publish(runId: string, event: LoggedEvent): void {
    this.#unlogged.get(runId)?.push(event);
    this.#tell(runId, { event });
  }

  /** Everything up to `seq` is in the log now. */
  logged(runId: string, seq: bigint): void {
    const rest = this.#unlogged.get(runId)?.filter((event) => event.seq > seq);
    if (rest) this.#unlogged.set(runId, rest);
  }

  /** The run has ended, and the database says so already. */
  end(runId: string, outcome: RunOutcome): void {
    this.#unlogged.delete(runId);
    this.#tell(runId, { outcome });
  }

  /** This process does not execute the run any more; whoever listens goes on with the log. */
  release(runId: string): void {
    this.#unlogged.delete(runId);
    this.#tell(runId, { reread: true });
  }

  subscribe(runId: string, subscriber: Subscriber): () => void {
    const all = this.#subscribers.get(runId) ?? new Set();
    this.#subscribers.set(runId, all.add(subscriber));
    for (const event of this.#unlogged.get(runId) ?? []) subscriber({ event });
    return () => {
      all.delete(subscriber);
      if (all.size === 0 && this.#subscribers.get(runId) === all) this.#subscribers.delete(runId);
    };
  }

  #tell(runId: string, notice: Notice): void {
    for (const subscriber of this.#subscribers.get(runId) ?? []) subscriber(notice);
  }
}
