/** Forgets the history of a thread, and keeps what it can go on from. */
import type pg from "pg";
import { encryptionOf } from "../../checkpoints/encryption.ts";
import { pruneThread } from "../../checkpoints/prune.ts";
import { transaction } from "../../db/pool.ts";
import type { ThreadId } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import { requireThread } from "./get.ts";
import { holdIdleThread } from "./update-state.ts";

/** Throws `thread_not_found`, and `thread_busy` while a run is pending or running. */
export async function keepLatest(pool: pg.Pool, principal: Principal, threadId: ThreadId): Promise<void> {
  await requireThread(pool, principal, threadId);
  await transaction(pool, async (tx) => {
    await holdIdleThread(tx, threadId);
    await pruneThread(tx, threadId, { keep: 1, encryption: encryptionOf(pool) });
  });
}
