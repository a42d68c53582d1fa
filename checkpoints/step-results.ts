/**
 * Results of tasks on their way to the tables. If the checkpoint of their step is stored in the same turn of the event
 * loop, as it is when no other task is at work, they land with it in one statement; otherwise by themselves, at once.
 * The library stores a checkpoint when the one before has landed, so results wait for that one.
 */
import type { PutWrites } from "./write-tuples.ts";

/** Rows that one statement takes beside its checkpoint: each has ten parameters, and a statement 65,535. */
const MAX_ROWS = 100;

interface Held {
  /** Namespace and checkpoint that the tasks worked on. */
  readonly at: string;
  readonly dumped: Promise<PutWrites>;
  readonly stored: PromiseWithResolvers<void>;
}

export class StepResults {
  readonly #store: (put: PutWrites) => Promise<void>;
  #held: readonly Held[] = [];
  #putsUnderWay = 0;

  constructor(store: (put: PutWrites) => Promise<void>) {
    this.#store = store;
  }

  /** Resolves when they are stored. */
  hold(at: string, dumped: Promise<PutWrites>): Promise<void> {
    dumped.catch(() => {}); // whoever stores them sees it
    const held: Held = { at, dumped, stored: Promise.withResolvers() };
    this.#held = [...this.#held, held];
    setImmediate(() => this.#release());
    return held.stored.promise;
  }

  /** Has `put` store what is held at the checkpoint before the one that it stores. */
  storedWith<T>(at: string, put: (results: readonly PutWrites[]) => Promise<T>): Promise<T> {
    const taken = this.#held.filter((held) => held.at === at);
    this.#held = this.#held.filter((held) => held.at !== at);
    this.#putsUnderWay += 1;
    const stored = this.#together(taken, put).finally(() => {
      this.#putsUnderWay -= 1;
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
    if (this.#putsUnderWay > 0) return;
    for (const held of this.#held) settle([held], held.dumped.then(this.#store));
    this.#held = [];
  }
}

function settle(held: readonly Held[], stored: Promise<unknown>): void {
  stored.then(
    () => held.forEach((each) => each.stored.resolve()),
    (error: unknown) => held.forEach((each) => each.stored.reject(error)),
  );
}
