/**
 * Removes what no checkpoint of a thread leads to any more: versions of channels, items of values, files.
 *
 * The caller's transaction holds the thread's ownership (`thread_owner`, for update), and took it in an earlier
 * statement: a write that came first has committed and is seen, one that comes later waits, and finds what it builds on
 * gone (see known-versions.ts). A saver without an owner is not held up: nothing else may write meanwhile.
 */
import type { Queryable } from "../db/pool.ts";
import { collectFiles } from "./files.ts";
import { versionsOf } from "./short-rows.ts";

export async function sweepThread(tx: Queryable, threadId: string): Promise<void> {
  await tx.query({
    name: "sweep-versions",
    text: `
      with recursive needed as (
        select b.checkpoint_ns, b.channel, b.version, b.base_version
          from (select distinct c.checkpoint_ns, v.key, v.value
                  from checkpoints c cross join jsonb_each_text(${versionsOf("c.checkpoint")}) v
                 where c.thread_id = $1) used
          join checkpoint_blobs b on b.thread_id = $1 and b.checkpoint_ns = used.checkpoint_ns
                                 and b.channel = used.key and b.version = used.value
         union
        select b.checkpoint_ns, b.channel, b.version, b.base_version
          from needed n
          join checkpoint_blobs b on b.thread_id = $1 and b.checkpoint_ns = n.checkpoint_ns
                                 and b.channel = n.channel and b.version = n.base_version)
      delete from checkpoint_blobs b
       where b.thread_id = $1
         and (b.checkpoint_ns, b.channel, b.version) not in (select checkpoint_ns, channel, version from needed)`,
    values: [threadId],
  });
  await tx.query({
    name: "sweep-items",
    text: `
      delete from checkpoint_items i
       where i.thread_id = $1
         and i.hash not in (select unnest(items) from checkpoint_blobs where thread_id = $1 and items is not null
                             union all
                            select unnest(items) from checkpoint_writes where thread_id = $1 and items is not null)`,
    values: [threadId],
  });
  await collectFiles(tx, threadId);
}
