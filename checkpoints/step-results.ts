/**
 * Results of tasks on their way to the tables. If the checkpoint of their step is stored in the same turn of the event
 * loop, as it is when no other task is at work, they land with it in one statement; otherwise by themselves, at once.
 * The library stores a checkpoint when the one before has landed, so results wait for that one.
 */
import type { GraphPlace } from "./known-versions.ts";
import type { PutWrites } from "./put-writes.ts";

/** Rows that one statement takes beside its checkpoint: each has ten parameters, and a statement 65,535. */
const MAX_ROWS = 100;

/** The checkpoint that tasks worked on; absent before the first. */
export interface StepPlace extends GraphPlace {
  readonly checkpoint_id: string | undefined;
}

interface Held {
  readonly at: StepPlace;
  readonly dumped: Promise<PutWrites>;
  readonly stored: PromiseWithResolvers<void>;
}

export class StepResults {
  readonly #store: (put: PutWrites) => Promise<void>;
  #held: readonly Held[] = [];
  /** Where a checkpoint is being stored; in each namespace one at a time. */
  readonly #putting = new Set<string>();

  constructor(store: (put: PutWrites) => Promise<void>) {
    this.#store = store;
  }

  /** Resolves when they are stored. */
  hold(at: StepPlace, dumped: Promise<PutWrites>): Promise<void> {
    dumped.catch(() => {}); // whoever stores them sees it
    const held: Held = { at, dumped, stored: Promise.withResolvers() };
    this.#held = [...this.#held, held];
    setImmediate(() => this.#release());
    return held.stored.promise;
  }

  /** Has `put` store what is held at the checkpoint before the one that it stores. */
  storedWith<T>(at: StepPlace, put: (results: readonly PutWrites[]) => Promise<T>): Promise<T> {
    const graph = graphOf(at);
    const taken = this.#held.filter((held) => graphOf(held.at) === graph && held.at.checkpoint_id === at.checkpoint_id);
    this.#held = this.#held.filter((held) => !taken.includes(held));
    this.#putting.add(graph);
    const stored = this.#together(taken, put).finally(() => {
      this.#putting.delete(graph);
      setImmediate(() => this.#release());
    });
    settle(taken, stored);
    return stored;
  }

  async #together<T>(taken: readonly Held[], put: (results: readonly PutWrites[]) => Promise<T>): Promise<T> {
    const results = await Promise.all(taken.map(({ dumped }) => dumped));
    if (results.reduce((rows, { writes }) => rows + writes.length, 0) <= MAX_ROWS) return put(results);
    await Promise.all(results.map(this.#store));
    return put([]);
  }

  #release(): void {
    const due = this.#held.filter(({ at }) => !this.#putting.has(graphOf(at)));
    this.#held = this.#held.filter((held) => !due.includes(held));
    for (const held of due) settle([held], held.dumped.then(this.#store));
  }
}

function graphOf({ thread_id, checkpoint_ns }: StepPlace): string {
  return JSON.stringify([thread_id, checkpoint_ns]);
}

function settle(held: readonly Held[], stored: Promise<unknown>): void {
  stored.then(
    () => held.forEach((each) => each.stored.resolve()),
    (error: unknown) => held.forEach((each) => each.stored.reject(error)),
  );
}
