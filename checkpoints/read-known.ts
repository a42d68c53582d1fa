/**
 * Reads a checkpoint whose values this process knows: the row and its pending writes, a fraction of what read-tuples.ts
 * has Postgres do. The row says which versions the values have, so nothing old is ever taken for new.
 */
import type { Queryable } from "../db/pool.ts";
import { byId } from "./by-id.ts";
import type { Encryption } from "./encryption.ts";
import type { GraphPlace, KnownVersions } from "./known-versions.ts";
import type { StoredTuple } from "./read-tuples.ts";
import { openRow, writePlace } from "./sealed-rows.ts";
import { wholeOf } from "./short-rows.ts";
import { CHUNKED } from "./stored-chunks.ts";

interface Wanted {
  readonly at: GraphPlace;
  /** The newest, if it is absent. */
  readonly checkpointId: string | undefined;
}

/** Before this version of the format, a checkpoint has values among its parent's pending writes. */
const WITH_ALL_VALUES = 4;

/** Undefined where there is no such checkpoint, and where something has to be read that is not known. */
export async function readKnown(
  db: Queryable,
  { at, checkpointId }: Wanted,
  { versions, encryption }: { readonly versions: KnownVersions; readonly encryption: Encryption | undefined },
): Promise<StoredTuple | undefined> {
  const { rows } = await db.query<Row>({
    name: checkpointId ? "known-by-id" : "known-newest",
    text: `
      with page as materialized (
        select seq, thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata, rest
          from checkpoints c
         where thread_id = $1 and checkpoint_ns = $2 ${checkpointId ? `and ${byId("c", "$3")}` : "order by seq desc limit 1"})
      select p.*, w.task_id, w.idx, w.channel, w.type, w.blob, w.items
        from page p
        left join checkpoint_writes w on w.thread_id = p.thread_id and w.checkpoint_ns = p.checkpoint_ns
                                     and w.checkpoint_id = p.checkpoint_id
       order by w.task_id collate "C", w.idx`,
    values: [at.thread_id, at.checkpoint_ns, ...(checkpointId ? [checkpointId] : [])],
  });
  const [first] = rows;
  const whole = first && wholeOf(first);
  const values = whole && versions.values(at, whole.checkpoint.channel_versions);
  if (!values || whole.checkpoint.v < WITH_ALL_VALUES) return undefined;
  const writes = rows
    .flatMap(({ task_id, ...row }) => (task_id === null ? [] : [{ ...row, task_id }]))
    .map((row) => openRow(encryption, row, writePlace));
  if (writes.some(({ type }) => type === CHUNKED)) return undefined;
  return {
    ...first,
    ...whole,
    canBuildOn: true,
    values,
    sent: [],
    writes: writes.map((row) => ({ ...row, data: row.blob })),
  };
}

interface Row extends Omit<StoredTuple, "canBuildOn" | "values" | "sent" | "writes"> {
  readonly rest: Uint8Array | null;
  /** Null, as what follows, where no task has written. */
  readonly task_id: string | null;
  readonly idx: number;
  readonly channel: string;
  readonly type: string;
  readonly blob: Buffer;
  readonly items: readonly string[] | null;
}
