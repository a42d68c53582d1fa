/**
 * Classes that stored state may name: what a checkpoint holds is data, and only what is listed here, by code and never
 * by data, is built from it. The list is of this process; a graph's file adds to it when it is loaded.
 */

/** Makes an object of the (camel-cased) fields that `Serializable.toJSON` stored of it. */
export type BuildStored = (fields: Record<string, unknown>) => unknown;

const builders = new Map<string, BuildStored>();

/**
 * Lets checkpoints bring back objects of a class of your own: a subclass of LangChain's `Serializable`.
 * `id` is its `lc_id`: the namespace and, last, the name. Call it where the class is defined, so that every process that
 * loads the graph knows it. What `build` throws leaves the stored object plain.
 */
export function allowStored(id: readonly string[], build: BuildStored): void {
  builders.set(keyOf(id), build);
}

/** Undefined for a class that nobody allowed. */
export function storedBuilder(id: readonly string[]): BuildStored | undefined {
  return builders.get(keyOf(id));
}

function keyOf(id: readonly string[]): string {
  return JSON.stringify(id);
}
