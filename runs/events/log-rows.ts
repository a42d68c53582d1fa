/** Stores rows of the log on behalf of a run, together with what is written on other threads. */
import type { Pool, QueryConfig } from "pg";
import { fence, fenceAtOnce, leaseLost, type Owner } from "../../db/fence.ts";
import { LAZY, sizeOf, writeGrouped } from "../../db/group-commit.ts";
import { standsFor } from "../../db/retry.ts";

/** A row of the log that is to be written. */
export interface LogRow {
  readonly seq: string;
  /** As in `thread_events.events`: a JSON array, or that sealed. */
  readonly events: string;
}

interface RunOfLog {
  readonly owner: Owner;
  readonly run: { readonly run_id: string; readonly tenant: string };
}

/**
 * Does not wait for the disk: the next checkpoint does. `pool`: its statements may be repeated when their answer is lost.
 * Throws `lease_lost`.
 */
export async function insertLogRow(pool: Pool, of: RunOfLog, row: LogRow): Promise<void> {
  await writeGrouped<true>(standsFor(pool), {
    threadId: of.owner.thread_id,
    size: sizeOf([row.events]),
    lazy: true,
    inGroup: async (db, { lazy }) => {
      const { rowCount } = await db.query(statementOf(of, row, { lazy, atOnce: true }));
      return rowCount === 1 || undefined;
    },
    alone: async () => {
      const { rowCount } = await pool.query(statementOf(of, row, { lazy: true, atOnce: false }));
      if (rowCount === 0) throw leaseLost(of.owner);
      return true;
    },
  });
}

function statementOf(
  { owner, run }: RunOfLog,
  { seq, events }: LogRow,
  { lazy, atOnce }: { readonly lazy: boolean; readonly atOnce: boolean },
): QueryConfig {
  return {
    name: ["log-events", lazy && "lazy", atOnce && "at-once"].filter(Boolean).join("-"),
    text: `
      with ${atOnce ? fenceAtOnce : fence},
           allowed as (select ${lazy ? LAZY : ""} from fence)
      insert into thread_events (thread_id, last_seq, tenant, run_id, events)
      select $1, $3, $4, $5, $6 from allowed
      -- There already when the statement is repeated since its answer was lost: numbers have one writer.
      on conflict (thread_id, last_seq) do update set events = excluded.events`,
    values: [owner.thread_id, owner.epoch, seq, run.tenant, run.run_id, events],
  };
}
