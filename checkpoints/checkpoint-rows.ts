/**
 * The row of a checkpoint and those of its values, as they are to be stored. Of a trigger that holds null the row of the
 * checkpoint says it, if it is short; a value that is sealed has a row of its own.
 */
import type { Encryption } from "./encryption.ts";
import type { GraphPlace, Planned } from "./known-versions.ts";
import type { PutCheckpoint } from "./put-checkpoint.ts";
import { sealCheckpoint } from "./sealed-rows.ts";
import { type CheckpointColumns, type CheckpointPlace, columnsOf } from "./short-rows.ts";
import { NULL } from "./triggers.ts";

interface RowsPlace extends GraphPlace, CheckpointPlace {
  readonly encryption: Encryption | undefined;
}

export function rowsOf(
  at: RowsPlace,
  whole: Omit<CheckpointColumns, "rest">,
  { values, items, nulls, inPieces }: Planned,
): Pick<PutCheckpoint, "columns" | "values" | "items"> {
  const columns = columnsOf(at, whole, { inPieces, nulls: new Set(at.encryption ? [] : nulls.keys()) });
  const others = values.filter(({ channel }) => !nulls.has(channel));
  if (columns.rest && !at.encryption) return { columns, values: others, items };
  const rows = [...nulls].map(([channel, version]) => ({ channel, version, type: "json", blob: NULL }));
  return { columns, ...sealCheckpoint(at.encryption, at, { values: [...others, ...rows], items }) };
}
