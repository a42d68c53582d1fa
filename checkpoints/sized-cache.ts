/** Values that may be forgotten: those used last, as long as they are not too much together. */
export class SizedCache<V> {
  readonly #maxSize: number;
  /** Those used last at the end. */
  readonly #entries = new Map<string, { readonly value: V; readonly size: number }>();
  #size = 0;

  /** In the unit in which `set` is told the size of a value. */
  constructor(maxSize: number) {
    this.#maxSize = maxSize;
  }

  get(key: string): V | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  set(key: string, value: V, size: number): void {
    this.delete(key);
    if (size > this.#maxSize) return; // it would push out all others, and go itself
    this.#entries.set(key, { value, size });
    this.#size += size;
    for (const oldest of this.#entries.keys()) {
      if (this.#size <= this.#maxSize) break;
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    this.#size -= this.#entries.get(key)?.size ?? 0;
    this.#entries.delete(key);
  }
}
