/** The logged events of a run after a given one, and how it ended if it has: one statement, so both are of one moment. */
import { z } from "zod";
import type { Queryable } from "../../db/pool.ts";
import type { RunOutcome } from "../index.ts";
import { RunError, RunStatus } from "../run.ts";
import type { LoggedEvent } from "./hub.ts";

const StoredEvents = z.array(z.object({ seq: z.string(), event: z.string(), data: z.unknown().optional() }));
export const StoredOutcome = z.object({
  status: RunStatus,
  values: z.unknown().optional(),
  error: RunError.optional(),
});

/** Rows of one read: what a reader that comes late, or is slow, has in memory at once. */
const PAGE_ROWS = 100;

export interface LogPage {
  readonly events: LoggedEvent[];
  /** There is more to read. */
  readonly isPartial: boolean;
  /** Set when the run is over and these are its last events. */
  readonly outcome?: RunOutcome;
  /** Neither the run nor any trace of it in the log. */
  readonly unknown: boolean;
}

/** `after` is the number of the last event that the reader has; -1n for none. */
export async function readLog(db: Queryable, runId: string, after: bigint): Promise<LogPage> {
  const { rows } = await db.query<{
    status: string | null;
    error: unknown;
    logs: { events: string; outcome: string | null }[] | null;
  }>({
    name: "read-log",
    text: `
      select r.status, r.error,
             (select json_agg(json_build_object('events', case when e.last_seq > $2 then e.events else '[]' end,
                                                'outcome', e.outcome) order by e.last_seq)
                from (select * from thread_events
                       -- The last row always, since it may be the one that ends the run; not by a condition on the
                       -- outcome, for which all rows would be read at each look.
                       where run_id = $1
                         and last_seq > least($2, (select max(last_seq) - 1 from thread_events where run_id = $1))
                       order by last_seq
                       limit ${PAGE_ROWS}) e) as logs
        from (values ($1::uuid)) as wanted(run_id)
        left join runs r using (run_id)`,
    values: [runId, String(after)],
  });
  const { status, error, logs } = rows[0] ?? { status: null, error: null, logs: null };
  const events = (logs ?? [])
    .flatMap((row) => StoredEvents.parse(JSON.parse(row.events)))
    .map(({ seq, event, data }) => ({ seq: BigInt(seq), event, data: data ?? null }))
    .filter((event) => event.seq > after);
  const isPartial = logs?.length === PAGE_ROWS;
  const told = logs?.at(-1)?.outcome;
  const outcome = told ? StoredOutcome.parse(JSON.parse(told)) : isPartial ? undefined : ended(status, error);
  return {
    events,
    isPartial,
    unknown: status === null && !logs,
    ...(outcome && {
      outcome: {
        status: outcome.status,
        values: outcome.values ?? null,
        ...(outcome.error && { error: outcome.error }),
      },
    }),
  };
}

/** A run that never executed has no row in the log that ends it: its own row tells. */
function ended(status: string | null, error: unknown): z.infer<typeof StoredOutcome> | undefined {
  const final = RunStatus.exclude(["pending", "running"]).safeParse(status);
  if (!final.success) return undefined;
  const known = RunError.safeParse(error);
  return { status: final.data, ...(known.success && { error: known.data }) };
}
