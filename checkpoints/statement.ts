/**
 * What the statements that write checkpoints have in common: the fence, if there is one, and all rows land together or
 * not at all.
 *
 * A statement is the same however many rows it writes, so that Postgres plans a few of them once for a connection, and
 * keeps no more. Rows travel as an array for each column; what is bytes, which in an array would be hexadecimal text, as
 * one parameter for the whole statement, of which each row takes its part.
 */
import { fence, fenceAtOnce, leaseLost, type Owner } from "../db/fence.ts";

/** The parameters of a statement whose first two belong to the fence. */
export class Parameters {
  /** The first CTE: one row if writing is allowed. */
  readonly fence: string;
  readonly #values: unknown[];
  readonly #bytes: Uint8Array[] = [];
  #length = 0;
  /** The parameter of the bytes. */
  #bytesAt: string | undefined;

  /** `atOnce`: not allowed while it would have to wait. */
  constructor(owner: Owner | null, { atOnce = false } = {}) {
    this.#values = owner ? [owner.thread_id, owner.epoch] : [];
    this.fence = owner ? (atOnce ? fenceAtOnce : fence) : "fence as materialized (select 1)";
  }

  /** Once all are added. */
  get values(): unknown[] {
    const bytes = Buffer.concat(this.#bytes, this.#length);
    return this.#bytesAt ? this.#values.with(Number(this.#bytesAt.slice(1)) - 1, bytes) : this.#values;
  }

  add(value: unknown): string {
    this.#values.push(value);
    return `$${this.#values.length}`;
  }

  /** Rows in SQL, with a type for each column. */
  list(types: readonly string[], rows: readonly (readonly unknown[])[]): string {
    const given: string[] = [];
    const taken: string[] = [];
    const from = (array: unknown[], type: string): string => {
      given.push(`${this.add(array)}::${type}[]`);
      return `c${given.length}`;
    };
    for (const [i, type] of types.entries()) {
      const cells = rows.map((row) => row[i]);
      taken.push(
        type === "bytea"
          ? this.#part(cells as (Uint8Array | null)[], from)
          : type.endsWith("[]")
            ? `${from(cells.map(asArray), "text")}::${type}`
            : from(cells, type),
      );
    }
    const names = given.map((_, i) => `c${i + 1}`).join(", ");
    return `(select ${taken.join(", ")} from unnest(${given.join(", ")}) as u(${names}))`;
  }

  #part(cells: readonly (Uint8Array | null)[], from: (array: unknown[], type: string) => string): string {
    this.#bytesAt ??= this.add(null);
    const starts = cells.map((cell) => {
      const start = this.#length + 1;
      if (cell) this.#bytes.push(cell);
      this.#length += cell?.length ?? 0;
      return cell && start;
    });
    const lengths = cells.map((cell) => cell && cell.length);
    return `substring(${this.#bytesAt}::bytea from ${from(starts, "int")} for ${from(lengths, "int")})`;
  }
}

/** Of texts without anything that had to be quoted. */
function asArray(cell: unknown): string | null {
  return cell ? `{${(cell as string[]).join(",")}}` : null;
}

export function lost(owner: Owner | null): Error {
  return owner ? leaseLost(owner) : new Error("A write that is not fenced was refused");
}
