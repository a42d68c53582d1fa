/**
 * Processes that wait for more work of the owner they have worked for, and of nobody else: for a while, and not too
 * many of them.
 */
interface KeepingRules<T> {
  readonly idleMs: number;
  /** Of all owners together; the one that has waited longest goes first. */
  readonly atMost: number;
  /** Whether it ended while it waited. */
  isGone(item: T): boolean;
  end(item: T): void;
}

interface Entry<T> {
  readonly owner: string;
  readonly item: T;
  readonly timer: NodeJS.Timeout;
}

export class Kept<T> {
  readonly #rules: KeepingRules<T>;
  /** The longest waiting first. */
  #entries: Entry<T>[] = [];

  constructor(rules: KeepingRules<T>) {
    this.#rules = rules;
  }

  /** One that `owner` has kept and that still lives. It is the caller's now. */
  take(owner: string): T | undefined {
    for (;;) {
      const entry = this.#entries.findLast((one) => one.owner === owner);
      if (!entry) return undefined;
      this.#forget(entry);
      if (!this.#rules.isGone(entry.item)) return entry.item;
      this.#rules.end(entry.item);
    }
  }

  keep(owner: string, item: T): void {
    const timer = setTimeout(() => this.#endEntry(entry), this.#rules.idleMs).unref();
    const entry: Entry<T> = { owner, item, timer };
    this.#entries.push(entry);
    if (this.#entries.length > this.#rules.atMost) this.#endEntry(this.#entries[0]!);
  }

  /** Ends all. */
  clear(): void {
    for (const entry of this.#entries) this.#endEntry(entry);
  }

  #endEntry(entry: Entry<T>): void {
    this.#forget(entry);
    this.#rules.end(entry.item);
  }

  #forget(entry: Entry<T>): void {
    clearTimeout(entry.timer);
    this.#entries = this.#entries.filter((one) => one !== entry);
  }
}
