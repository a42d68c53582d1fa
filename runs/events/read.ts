/** The logged events of a run after a given one, and how it ended if it has: one statement, so both are of one moment. */
import type pg from "pg";
import { z } from "zod";
import { encryptionOf } from "../../checkpoints/encryption.ts";
import { readJson, readText } from "../../checkpoints/sealed-text.ts";
import type { RunOutcome } from "../index.ts";
import { RunError, RunStatus } from "../run.ts";
import { errorPlace, logPlace } from "../sealed-columns.ts";
import type { LoggedEvent } from "./hub.ts";

const StoredEvents = z.array(z.object({ seq: z.string(), event: z.string(), data: z.unknown().optional() }));
const StoredOutcome = z.object({
  status: RunStatus,
  values: z.unknown().optional(),
  error: RunError.optional(),
});

/** Rows of one read: what a reader that comes late, or is slow, has in memory at once. */
const PAGE_ROWS = 100;

interface LogPage {
  readonly events: LoggedEvent[];
  /** There is more to read. */
  readonly isPartial: boolean;
  /** Set when the run is over and these are its last events. */
  readonly outcome?: RunOutcome;
  /** Neither the run nor any trace of it in the log. */
  readonly unknown: boolean;
}

interface StoredRow {
  readonly events: string;
  readonly outcome: string | null;
  readonly last_seq: string;
  readonly thread_id: string;
}

interface Row {
  /** Of the run's own row, as the next two: null without. */
  readonly thread_id: string | null;
  readonly status: string | null;
  readonly error: unknown;
  readonly logs: readonly StoredRow[] | null;
}

/** `after` is the number of the last event that the reader has; -1n for none. Throws `checkpoint_unreadable`. */
export async function readLog(pool: pg.Pool, runId: string, after: bigint): Promise<LogPage> {
  const { rows } = await pool.query<Row>({
    name: "read-log",
    text: `
      select r.thread_id, r.status, r.error,
             (select json_agg(json_build_object('events', case when e.last_seq > $2 then e.events else '[]' end,
                                                'outcome', e.outcome, 'last_seq', e.last_seq::text,
                                                'thread_id', e.thread_id) order by e.last_seq)
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
  const encryption = encryptionOf(pool);
  const { thread_id, status, error, logs } = rows[0] ?? { thread_id: null, status: null, error: null, logs: null };
  const read = (row: StoredRow, what: "events" | "outcome", stored: string): unknown =>
    JSON.parse(readText(encryption, stored, logPlace({ ...row, run_id: runId }, what, row.last_seq)));
  const events = (logs ?? [])
    .flatMap((row) => StoredEvents.parse(read(row, "events", row.events)))
    .map(({ seq, event, data }) => ({ seq: BigInt(seq), event, data: data ?? null }))
    .filter((event) => event.seq > after);
  const isPartial = logs?.length === PAGE_ROWS;
  const last = logs?.at(-1);
  const outcome = last?.outcome
    ? StoredOutcome.parse(read(last, "outcome", last.outcome))
    : isPartial || thread_id === null
      ? undefined
      : ended(status, readJson(encryption, error, errorPlace({ thread_id, run_id: runId })));
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
