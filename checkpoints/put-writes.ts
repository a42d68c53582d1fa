/** Writes what tasks returned, asked and were answered. */
import type { Pool, QueryConfig } from "pg";
import type { Owner } from "../db/fence.ts";
import { LAZY, sizeOf, writeGrouped } from "../db/group-commit.ts";
import type { Queryable } from "../db/pool.ts";
import { standsFor } from "../db/retry.ts";
import type { Beside } from "./put-checkpoint.ts";
import { itemsStored, putSurplus } from "./put-items.ts";
import { lost, Parameters } from "./statement.ts";
import type { Item } from "./stored-chunks.ts";

export interface PutWrites {
  readonly owner: Owner | null;
  /** Thread, namespace, checkpoint id, task id. */
  readonly row: readonly [string, string, string, string];
  /** The run on whose behalf they are, so that its rollback finds them on checkpoints of earlier runs. */
  readonly runId: string | null;
  readonly writes: readonly WriteRow[];
  readonly items: readonly Item[];
  /** Whether the writes take the place of earlier ones with the same index, or stand back. */
  readonly replace: boolean;
  /**
   * Whether to leave it to the next commit that the writes are on disk. For the results of tasks: the checkpoint of
   * their step follows, and a crash of Postgres before it costs that step. Never for questions and answers.
   */
  readonly lazy: boolean;
}

export interface WriteRow {
  readonly idx: number;
  readonly channel: string;
  readonly type: string;
  readonly blob: Uint8Array;
  readonly items?: readonly string[];
}

/** Throws `lease_lost` when the owner has changed, and nothing was written. */
export async function putWrites(db: Queryable, put: PutWrites): Promise<void> {
  if (put.writes.length === 0) return;
  const items = await putSurplus(db, put);
  const { rowCount } = await db.query(statementOf({ ...put, items }));
  if (rowCount !== 1) throw lost(put.owner);
}

/** The same, together with what is written on other threads; see `putGrouped`. */
export async function putWritesGrouped(pool: Pool, put: PutWrites): Promise<void> {
  if (put.writes.length === 0) return;
  await writeGrouped<true>(standsFor(pool), {
    threadId: put.row[0],
    size: sizeOf([...put.writes.map(({ blob }) => blob), ...put.items.map(({ item }) => item)]),
    lazy: put.lazy,
    inGroup: async (db, { lazy }) => {
      const { rowCount } = await db.query(statementOf({ ...put, lazy }, { atOnce: true }));
      return rowCount === 1 || undefined;
    },
    alone: async () => {
      await putWrites(pool, put);
      return true;
    },
  });
}

function statementOf(put: PutWrites, { atOnce = false } = {}): QueryConfig {
  const writes = eachIndexOnce(put);
  const parameters = new Parameters(put.owner, { atOnce });
  const [thread = "", ...row] = [...put.row, put.runId].map((value) => `${parameters.add(value)}::text`);
  const rows = writes.map(columnsOf);
  const onConflict = put.replace
    ? `on conflict (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
            do update set channel = excluded.channel, type = excluded.type, blob = excluded.blob,
                          items = excluded.items, run_id = excluded.run_id`
    : "on conflict do nothing";
  const kind = [put.owner ? "fenced" : "plain", put.replace ? "replace" : "keep", put.lazy ? "lazy" : "sync"];
  if (atOnce) kind.push("at-once");
  if (put.items.length > 0) kind.push("items");
  return {
    name: `put-writes-${kind.join("-")}`,
    text: `
      with ${parameters.fence},
      allowed as materialized (select ${put.lazy ? LAZY : "1"} from fence),
      ${put.items.length > 0 ? `${itemsStored(parameters, thread, put.items)},` : ""}
      stored as (
        insert into ${WRITES}
        select ${thread}, ${row.join(", ")}, v.* from allowed cross join ${parameters.list(WRITE_TYPES, rows)} as v
            ${onConflict})
      select from fence`,
    values: parameters.values,
  };
}

/** The same as rows beside a checkpoint, for writes that stand back. Their items go with the checkpoint's. */
export function writesBeside(puts: readonly PutWrites[]): Beside {
  return {
    name: "writes",
    into: WRITES,
    types: ["text", "text", "text", "text", "text", ...WRITE_TYPES],
    rows: puts.flatMap((put) => eachIndexOnce(put).map((write) => [...put.row, put.runId, ...columnsOf(write)])),
  };
}

const WRITES =
  "checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, run_id, idx, channel, type, blob, items)";
const WRITE_TYPES = ["int", "text", "text", "bytea", "uuid[]"];

function columnsOf({ idx, channel, type, blob, items }: WriteRow): unknown[] {
  return [idx, channel, type, blob, items ?? null];
}

/** One statement may touch a row only once: of those with one index the last counts, or the first, as in the stock saver. */
function eachIndexOnce({ writes, replace }: PutWrites): WriteRow[] {
  const ordered = replace ? writes : writes.toReversed();
  return [...new Map(ordered.map((write) => [write.idx, write])).values()];
}
