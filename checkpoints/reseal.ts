/**
 * Makes the encrypted rows of a copied thread its own: a seal holds for one row of one thread. The rows keep the key that
 * they have, so that what refers to them stays right.
 */
import { escapeLiteral } from "pg";
import type { Queryable } from "../db/pool.ts";
import { type Encryption, type Place } from "./encryption.ts";
import {
  asSealed,
  filePlace,
  itemPlace,
  type ItemPlace,
  versionPlace,
  type VersionPlace,
  writePlace,
  type WritePlace,
} from "./sealed-rows.ts";

export interface Copied {
  readonly from: string;
  readonly to: string;
}

/** Rows in memory at once. */
const BATCH = 200;

/** In the transaction that copied the rows, before anyone can read them. */
export async function resealCopy(tx: Queryable, encryption: Encryption, copied: Copied): Promise<void> {
  const tables: readonly Table[] = [
    { name: "checkpoint_blobs", column: "blob", placeOf: (row) => versionPlace(asSealed(row)) },
    { name: "checkpoint_writes", column: "blob", placeOf: (row) => writePlace(asSealed(row)) },
    { name: "checkpoint_items", column: "item", placeOf: itemPlace },
    { name: "file_contents", column: "sealed", also: "encode(hash, 'hex') as hash", placeOf: filePlace },
  ];
  for (const table of tables) await resealTable(tx, table, { encryption, ...copied });
}

interface Table {
  readonly name: string;
  readonly column: "blob" | "item" | "sealed";
  /** Columns in another form than the table's, which they hide. */
  readonly also?: string;
  readonly placeOf: (row: Row) => Place;
}

/** A row of one of the tables. */
interface Row extends VersionPlace, WritePlace, ItemPlace {
  readonly thread_id: string;
  readonly checkpoint_ns: string;
  readonly channel: string;
  readonly type: string;
  readonly items?: readonly string[] | null;
  readonly place: string;
  readonly bytes: Buffer;
}

/** By a cursor, which does not see what is changed after it was opened. */
async function resealTable(
  tx: Queryable,
  { name, column, also, placeOf }: Table,
  { encryption, from, to }: Copied & { encryption: Encryption },
): Promise<void> {
  await tx.query(
    `declare copied no scroll cursor for
     select ctid as place, ${column} as bytes, *${also ? `, ${also}` : ""} from ${name}
      where thread_id = ${escapeLiteral(to)} and substr(${column}, 1, 1) = '\\xff'
            ${column === "blob" ? "and type like 'sealed:%'" : ""}`,
  );
  for (;;) {
    const { rows } = await tx.query<Row>(`fetch ${BATCH} from copied`);
    if (rows.length === 0) break;
    const moved = rows.map((row) => {
      const place = placeOf(row).row;
      return encryption.move(row.bytes, { threadId: from, row: place }, { threadId: to, row: place });
    });
    await tx.query({
      text: `
        update ${name} t set ${column} = v.bytes
          from (values ${rows.map((_, i) => `($${2 * i + 1}::tid, $${2 * i + 2}::bytea)`).join(", ")}) as v(place, bytes)
         where t.ctid = v.place`,
      values: rows.flatMap(({ place }, i) => [place, moved[i]]),
    });
  }
  await tx.query("close copied");
}
