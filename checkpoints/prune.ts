/**
 * Takes from a thread what its newest state does not need. As in sweep.ts, the caller's transaction holds the thread's
 * ownership, and no run is alive.
 */
import type { Queryable } from "../db/pool.ts";
import type { Encryption } from "./encryption.ts";
import { readTuples } from "./read-tuples.ts";
import { resealVersion } from "./sealed-rows.ts";
import { isBeforeSends, versionsOf } from "./short-rows.ts";
import { columnsOf } from "./stored-chunks.ts";
import type { VersionRow } from "./stored-values.ts";
import { sweepThread } from "./sweep.ts";

/**
 * Keeps the `keep` newest checkpoints and the tips of all branches, and what these need: the checkpoints of subgraphs
 * that work or wait under them, the memory of subgraphs that have one of their own, and, for a channel that is kept as
 * its writes, the checkpoints back to its last snapshot. Returns how many checkpoints went.
 */
export async function pruneThread(
  tx: Queryable,
  threadId: string,
  { keep, encryption }: { keep: number; encryption?: Encryption | undefined },
): Promise<number> {
  const { rowCount } = await tx.query({
    name: "prune-checkpoints",
    text: `
      with recursive own as materialized (
        select checkpoint_ns as ns, checkpoint_id as id, parent_checkpoint_id as parent, checkpoint, metadata,
               row_number() over (partition by checkpoint_ns order by seq desc) as age
          from checkpoints
         where thread_id = $1),
      wanted as (
        select * from own
         where age <= $2 or not exists (select from own child where child.ns = own.ns and child.parent = own.id)),
      kept as materialized (
        select * from wanted
         -- The namespace of a graph that lives no longer than a task names the task.
         where ns not like '%:%'
            or metadata -> 'parents' ->> '' in (select id from wanted root where root.ns = '')),
      -- Not each checkpoint counts its own: an edit leaves that out.
      deltas as (
        select distinct ns, channel
          from own cross join jsonb_object_keys(metadata -> 'counters_since_delta_snapshot') d(channel)),
      trail as (
        select k.ns, k.parent as id, d.channel
          from kept k join deltas d on d.ns = k.ns
         where not ${hasValue("k.checkpoint", "d.channel", "k.ns")}
         union
        select a.ns, a.parent, t.channel
          from trail t join own a on a.ns = t.ns and a.id = t.id
         where not ${hasValue("a.checkpoint", "t.channel", "a.ns")}),
      writes_gone as (
        delete from checkpoint_writes w
         using own
         where w.thread_id = $1 and w.checkpoint_ns = own.ns and w.checkpoint_id = own.id
           and (own.ns, own.id) not in (select ns, id from kept union all select ns, id from trail where id is not null))
      delete from checkpoints c
       where c.thread_id = $1
         and (c.checkpoint_ns, c.checkpoint_id) not in (
               select ns, id from kept union all select ns, id from trail where id is not null)`,
    values: [threadId, keep],
  });
  await rebase(tx, threadId, encryption);
  await sweepThread(tx, threadId);
  return rowCount ?? 0;
}

/** In SQL, whether a checkpoint has a value of a channel. */
function hasValue(checkpoint: string, channel: string, ns: string): string {
  return `exists (select from checkpoint_blobs b
                       where b.thread_id = $1 and b.checkpoint_ns = ${ns} and b.channel = ${channel}
                         and b.version = ${versionsOf(checkpoint)} ->> ${channel} and b.type <> 'empty')`;
}

/**
 * Removes the pending writes of checkpoints that another one follows: its values hold what they did. Those of a
 * checkpoint that asked a question stay, with the answers, and those of channels that are kept as their writes.
 *
 * The history then no longer shows what each task returned, and a run from such a checkpoint runs its tasks again.
 */
export async function pruneSupersededWrites(tx: Queryable, threadId: string): Promise<void> {
  await tx.query({
    name: "prune-superseded-writes",
    text: `
      delete from checkpoint_writes w
       where w.thread_id = $1
         and exists (select from checkpoints next
                      where next.thread_id = $1 and next.checkpoint_ns = w.checkpoint_ns
                        and next.parent_checkpoint_id = w.checkpoint_id)
         and not exists (select from checkpoints next
                          where next.thread_id = $1 and next.checkpoint_ns = w.checkpoint_ns
                            and next.parent_checkpoint_id = w.checkpoint_id
                            and (not ${hasValue("next.checkpoint", "w.channel", "w.checkpoint_ns")}
                                 and exists (select from checkpoints counting
                                              where counting.thread_id = $1 and counting.checkpoint_ns = w.checkpoint_ns
                                                and counting.metadata -> 'counters_since_delta_snapshot' ? w.channel)
                                 -- Before version 4 what was sent stayed with the writes.
                                 or (w.channel = '__pregel_tasks' and ${isBeforeSends("next")})))
         and not exists (select from checkpoint_writes asked
                          where asked.thread_id = $1 and asked.checkpoint_ns = w.checkpoint_ns
                            and asked.checkpoint_id = w.checkpoint_id and asked.channel = '__interrupt__')`,
    values: [threadId],
  });
  await sweepThread(tx, threadId);
}

/**
 * Stores versions as a whole that are deltas on versions which no checkpoint has any more: else these would stay, and
 * with them the items of messages that were removed.
 */
async function rebase(tx: Queryable, threadId: string, encryption: Encryption | undefined): Promise<void> {
  const selection = { name: "checkpoints-left", where: "thread_id = $1", values: [threadId], encryption };
  const tuples = await readTuples(tx, selection);
  const left = new Map(
    tuples.flatMap(({ checkpoint_ns, values }) =>
      values.map((value) => [
        JSON.stringify([checkpoint_ns, value.channel, value.known?.version]),
        { checkpoint_ns, ...value },
      ]),
    ),
  );
  for (const { checkpoint_ns, channel, known } of left.values()) {
    if (!known?.base || left.has(JSON.stringify([checkpoint_ns, channel, known.base]))) continue;
    const at = [threadId, checkpoint_ns, channel, known.version];
    const { rows } = await tx.query<VersionRow>({
      name: "version-to-store-as-whole",
      text: `
        select * from checkpoint_blobs
         where thread_id = $1 and checkpoint_ns = $2 and channel = $3 and version = $4`,
      values: at,
    });
    if (!rows[0]) continue;
    const { blob, items } = resealVersion(encryption, rows[0], columnsOf(known.chunks));
    await tx.query({
      name: "store-version-as-whole",
      text: `
        update checkpoint_blobs
           set blob = $5, items = $6, base_version = null, head = null, tail = null
         where thread_id = $1 and checkpoint_ns = $2 and channel = $3 and version = $4`,
      values: [...at, blob, items],
    });
  }
}
