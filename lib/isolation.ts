/**
 * What stands between untrusted code and this machine, weakest first. `wasm` works wherever Node does; the others come
 * with the host.
 */
export const isolations = ["wasm", "landlock", "bwrap", "container", "remote"] as const;
export type Isolation = (typeof isolations)[number];

/** Whether `given` is at least as strong as `minimum`. */
export function satisfies(given: Isolation, minimum: Isolation): boolean {
  return isolations.indexOf(given) >= isolations.indexOf(minimum);
}
