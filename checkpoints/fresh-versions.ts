/**
 * Versions for the values of a thread that is taken in from outside, in the order in which those were that it brings, and
 * equal where those were: a process that remembers the thread from before, when it was another one, takes none of them for
 * what it knows. Whole numbers stay: those of the stock saver are in no way unique, and never taken from memory.
 */
import { randomInt } from "node:crypto";
import { PawlError } from "../lib/errors.ts";
import { isUnique } from "./versions.ts";

interface Renamed {
  /** The fraction that it had. */
  readonly from: number;
  /** The digits of its new one, as a number. */
  readonly to: number;
}

/** Together, of a whole number and its fraction: a number has them for certain. */
const DIGITS = 15;

export class FreshVersions {
  /** By whole number: what was renamed, in ascending order. */
  readonly #renamed = new Map<string, readonly Renamed[]>();

  /** Throws `invalid_input` when no version is left between two others. */
  of(version: number | string): number | string {
    const text = String(version);
    if (!isUnique(text)) return version;
    const [count = "", fraction = ""] = text.split(".");
    const digits = DIGITS - count.length;
    const to = this.#fraction(count, { from: Number(`0.${fraction}`), end: 10 ** digits });
    const fresh = `${count}.${String(to).padStart(digits, "0")}`;
    return typeof version === "number" ? Number(fresh) : fresh;
  }

  /** Below `end`. */
  #fraction(count: string, { from, end }: { readonly from: number; readonly end: number }): number {
    const renamed = this.#renamed.get(count) ?? [];
    const at = renamed.findLastIndex((each) => each.from <= from);
    const below = renamed[at];
    if (below?.from === from) return below.to;
    const to = between(below?.to ?? 0, renamed[at + 1]?.to ?? end);
    this.#renamed.set(count, renamed.toSpliced(at + 1, 0, { from, to }));
    return to;
  }
}

/** No multiple of ten: a number that ends in zeros has fewer digits (see `Saver.getNextVersion`). */
function between(low: number, high: number): number {
  if (high - low < 20) throw new PawlError("invalid_input", "The versions of the export are too many to be renamed");
  const drawn = randomInt(low + 1, high);
  if (drawn % 10 !== 0) return drawn;
  return drawn + 1 < high ? drawn + 1 : drawn - 1;
}
