/**
 * Ends threads whose time is over: they go with all that is on them, or their history goes and their newest state stays.
 * A thread that is busy, or that waits for an answer, stays as it is: a person may take longer than any time that was
 * set for conversations.
 */
import type pg from "pg";
import { type Encryption, encryptionOf } from "../../checkpoints/encryption.ts";
import { pruneThread } from "../../checkpoints/prune.ts";
import { type Queryable, transaction } from "../../db/pool.ts";
import { asError } from "../../lib/errors.ts";
import { ThreadId } from "../../lib/ids.ts";
import type { Log } from "../../lib/log.ts";
import { deleteThread } from "./delete.ts";
import { holdIdleThread } from "./update-state.ts";
import type { ThreadTtl } from "./ttl.ts";

/** One thread a transaction: none waits for another's, and one that fails is passed over until the next round. */
export async function expireThreads(pool: pg.Pool, log: Log): Promise<number> {
  let ended = 0;
  for (let after: Expired | undefined; ;) {
    const next = await nextExpired(pool, after);
    if (!next) return ended;
    after = next;
    try {
      if (await transaction(pool, (tx) => end(tx, next, encryptionOf(pool)))) ended += 1;
    } catch (thrown) {
      log.warn(
        { error: asError(thrown), thread_id: next.thread_id },
        "a thread could not be ended, trying again later",
      );
    }
  }
}

interface Expired {
  readonly thread_id: ThreadId;
  readonly tenant: string;
  readonly strategy: ThreadTtl["strategy"];
  /** As text, which keeps the microseconds. */
  readonly updated_at: string;
}

const isOver = `
  ttl_minutes is not null
  and status in ('idle', 'error')
  and updated_at < now() - make_interval(secs => ttl_minutes * 60)
  and (pruned_at is null or pruned_at < updated_at)
  and not exists (select from runs r where r.thread_id = t.thread_id and r.status in ('pending', 'running'))`;

async function nextExpired(db: Queryable, after: Expired | undefined): Promise<Expired | undefined> {
  const { rows } = await db.query<Expired>({
    name: "next-expired-thread",
    text: `
      select thread_id, tenant, ttl_strategy as strategy, updated_at::text as updated_at
        from threads t
       where ${isOver}
         and ($1::timestamptz is null or (updated_at, thread_id) > ($1, $2::uuid))
       order by updated_at, thread_id
       limit 1`,
    values: [after?.updated_at ?? null, after?.thread_id ?? null],
  });
  return rows[0] && { ...rows[0], thread_id: ThreadId.parse(rows[0].thread_id) };
}

/** False when it came to life meanwhile, or another process has it. */
async function end(
  tx: Queryable,
  { thread_id, tenant, strategy }: Expired,
  encryption: Encryption | undefined,
): Promise<boolean> {
  const { rowCount } = await tx.query({
    name: "lock-expired-thread",
    text: `select from threads t where thread_id = $1 and ${isOver} for no key update skip locked`,
    values: [thread_id],
  });
  if (rowCount !== 1) return false;
  if (strategy === "delete") {
    await deleteThread(tx, { tenant, identity: null }, thread_id);
    return true;
  }
  await holdIdleThread(tx, thread_id);
  await pruneThread(tx, thread_id, { keep: 1, encryption });
  await tx.query({
    name: "thread-pruned",
    text: "update threads set pruned_at = now() where thread_id = $1",
    values: [thread_id],
  });
  return true;
}
