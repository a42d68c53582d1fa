/**
 * Promises whose rejection may be looked at late. The library derives a promise from that of a task's writes and looks at
 * it when all tasks of the step are through. Until then nobody has handled the derived one: if the write is refused while
 * a sibling is at work, node ends the process for it, and all runs of the process with it.
 */
export function patient<T>(promise: Promise<T>): Promise<T> {
  return new Patient((resolve, reject) => void promise.then(resolve, reject));
}

class Patient<T> extends Promise<T> {
  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  // oxlint-disable-next-line unicorn/no-thenable -- it is a promise: what is derived from it is what this is about
  override then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    const derived = super.then(onFulfilled, onRejected);
    derived.catch(() => {}); // whoever derived it still sees the rejection
    return derived;
  }
}
