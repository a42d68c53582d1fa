/**
 * Where `Math.random` of a VM has its state, so that VMs of one image do not draw the same numbers. Nothing exports it:
 * it is the word in the engine's context that one draw changes as xorshift64* does (`js_random_init` and `xorshift64star`
 * of quickjs-ng), which no other word does by chance.
 */
import { randomBytes } from "node:crypto";

/** More than a context has. */
const contextBytes = 4_096;
const step = 4;
const mask = 0xffff_ffff_ffff_ffffn;

/** `draw` calls `Math.random` once. Undefined where no such word is found. */
export function findRandomState(memory: () => Uint8Array, context: number, draw: () => void): number | undefined {
  const wordsBefore = wordsAt(memory(), context);
  draw();
  const wordsAfter = wordsAt(memory(), context);
  const at = wordsBefore.findIndex((word, index) => word !== 0n && wordsAfter[index] === advanced(word));
  return at === -1 ? undefined : context + at * step;
}

/** Never zero, where the generator would stay. */
export function seedRandomState(memory: Uint8Array, at: number): void {
  const seed = randomBytes(8);
  seed[0]! |= 1;
  memory.set(seed, at);
}

function wordsAt(memory: Uint8Array, from: number): bigint[] {
  const view = new DataView(memory.buffer, memory.byteOffset + from, Math.min(contextBytes, memory.length - from));
  return Array.from({ length: Math.floor((view.byteLength - 8) / step) }, (_, at) =>
    view.getBigUint64(at * step, true),
  );
}

function advanced(state: bigint): bigint {
  const first = state ^ (state >> 12n);
  const second = first ^ ((first << 25n) & mask);
  return second ^ (second >> 27n);
}
