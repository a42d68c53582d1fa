/**
 * What the statements that write checkpoints have in common: the fence, if there is one, and all rows land together or
 * not at all. Values are scalar parameters of a multi-row `values` list, which `pg` sends as they are; an array of bytea
 * would travel as hex text.
 */
import { fence, fenceAtOnce, leaseLost, type Owner } from "../db/fence.ts";

/** The parameters of a statement whose first two belong to the fence. */
export class Parameters {
  readonly values: unknown[];
  /** The first CTE: one row if writing is allowed. */
  readonly fence: string;

  /** `atOnce`: not allowed while it would have to wait. */
  constructor(owner: Owner | null, { atOnce = false } = {}) {
    this.values = owner ? [owner.thread_id, owner.epoch] : [];
    this.fence = owner ? (atOnce ? fenceAtOnce : fence) : "fence as materialized (select 1)";
  }

  add(value: unknown): string {
    this.values.push(value);
    return `$${this.values.length}`;
  }

  /** A `values` list with a type for each column. */
  list(types: readonly string[], rows: readonly (readonly unknown[])[]): string {
    const row = (cells: readonly unknown[]): string =>
      types.map((type, i) => `${this.add(cells[i])}::${type}`).join(", ");
    return `(values ${rows.map((cells) => `(${row(cells)})`).join(", ")})`;
  }
}

export function lost(owner: Owner | null): Error {
  return owner ? leaseLost(owner) : new Error("A write that is not fenced was refused");
}

/** Statements are kept per connection, so only those of a usual shape get a name. */
const MAX_NAMED = 8;

export function named(name: string, parts: readonly (readonly unknown[])[]): { name?: string } {
  return parts.every(({ length }) => length <= MAX_NAMED)
    ? { name: [name, ...parts.map(({ length }) => length)].join("-") }
    : {};
}
