/** What the log of events and the order of writes say: about readers, gaps, and processes that wrote too late. */
import type { Evidence, Findings } from "./inspect.ts";

export async function inspectLog(evidence: Evidence, findings: Findings): Promise<void> {
  await inspectReadings(evidence, findings);
  await inspectGaps(evidence, findings);
  await inspectWriters(evidence, findings);
}

/** A reader may have seen the last events before a crash that the log lost; but never less than the log has. */
async function inspectReadings({ db, journal }: Evidence, { wrongEvents }: Findings): Promise<void> {
  for (const { runId, ids } of journal.readings) {
    if (ids.some((id, i) => i > 0 && id <= ids[i - 1]!)) wrongEvents.push(`${runId}: not growing`);
    const [first] = ids;
    if (first === undefined) continue;
    const { rows } = await db.query<{ seq: string }>(
      "select e ->> 'seq' as seq from thread_events, json_array_elements(events::json) e where run_id = $1",
      [runId],
    );
    const got = new Set(ids);
    const missing = rows.map(({ seq }) => BigInt(seq)).filter((seq) => seq >= first && !got.has(seq));
    if (missing.length > 0)
      wrongEvents.push(`${runId}: ${missing.length} events missing, ${missing.slice(0, 3).join(" ")}`);
  }
}

/**
 * One attempt numbers its events without a gap, from the epoch's first on; the end of the log takes a number, too. A
 * crash of Postgres may take rows that were not on the disk yet: gaps that were made then do not count.
 */
async function inspectGaps({ db, journal }: Evidence, { lostEvents }: Findings): Promise<void> {
  const { rows } = await db.query<{ run_id: string; seq: string; before: string | null; since: Date; until: Date }>(
    `select run_id, seq, before, since, until
       from (select run_id, seq, lag(seq) over same as before, coalesce(lag(created_at) over same, 'epoch') as since,
                    created_at as until
               from (select thread_id, run_id, (e ->> 'seq')::bigint as seq, created_at
                       from thread_events, json_array_elements(events::json) e) told
             window same as (partition by thread_id, seq >> 32 order by seq)) numbered
      where seq <> coalesce(before + 1, seq >> 32 << 32)`,
  );
  for (const { run_id, seq, before, since, until } of rows) {
    // What reached the log is on the disk within a second.
    const isExcused = journal.crashes.some((at) => at >= since.getTime() - 1_000 && at <= until.getTime());
    if (!isExcused) lostEvents.push(`${run_id}: between ${before ?? "its beginning"} and ${seq}`);
  }
}

/** Once an attempt has written, none of before it writes any more: neither checkpoints nor events. */
async function inspectWriters({ db }: Evidence, { lateWrites }: Findings): Promise<void> {
  const { rows: checkpoints } = await db.query<{ thread_id: string; checkpoint_id: string }>(
    `select thread_id, checkpoint_id
       from (select thread_id, checkpoint_id, writer, lag(writer) over (partition by thread_id order by seq) as before,
                    min(seq) over (partition by thread_id, writer) as first, seq
               from (select *, concat(metadata ->> 'run_id', metadata ->> 'run_attempt') as writer from checkpoints) c) written
      where writer <> before and seq <> first`,
  );
  for (const { thread_id, checkpoint_id } of checkpoints)
    lateWrites.push(`thread ${thread_id}: checkpoint ${checkpoint_id}`);
  const { rows: events } = await db.query<{ run_id: string; last_seq: string }>(
    `select run_id, last_seq
       from (select run_id, last_seq, created_at, lag(created_at) over (partition by thread_id order by last_seq) as before
               from thread_events) logged
      where created_at < before`,
  );
  for (const { run_id, last_seq } of events) lateWrites.push(`run ${run_id}: events before ${last_seq}`);
}
