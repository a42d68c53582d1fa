/** Copies a thread with all its checkpoints and what its effects left behind: where the copy goes from there, the original does not see. */
import type pg from "pg";
import { encryptionOf } from "../../checkpoints/encryption.ts";
import { resealCopy } from "../../checkpoints/reseal.ts";
import { copyThreadCheckpoints } from "../../checkpoints/thread-data.ts";
import { type Queryable, transaction } from "../../db/pool.ts";
import { PawlError } from "../../lib/errors.ts";
import { ThreadId, uuidv7 } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import type { Graphs } from "../index.ts";
import { copyEffects } from "../effects/copy.ts";
import { resealEffects } from "../effects/sealed-results.ts";
import { getThread } from "./get.ts";
import { graphOfThread } from "./graph.ts";
import { refreshThread } from "./refresh.ts";
import { resealThread } from "./sealed-state.ts";
import type { Thread } from "./thread.ts";

/**
 * A thread that is busy is copied as it is at this moment, without its runs. Throws `copy_source_missing`.
 */
export async function copyThread(
  { pool, graphs }: { pool: pg.Pool; graphs: Graphs },
  principal: Principal,
  sourceId: ThreadId,
): Promise<Thread> {
  const copyId = ThreadId.parse(uuidv7());
  const isRowCurrent = await transaction(pool, async (tx) => {
    const source = await holdSource(tx, principal, sourceId);
    await tx.query({
      name: "copy-thread",
      // What a run's error says about the original says nothing about the copy, on which no run has been.
      text: `
        with copied as (
          insert into threads (thread_id, tenant, created_by, graph_id, metadata, config, "values", interrupts,
                               status, rest_status, ttl_minutes, ttl_strategy)
          select $2::uuid, tenant, $3, graph_id, metadata || jsonb_build_object('thread_id', $2::uuid), config, "values",
                 interrupts, rest.status, rest.status, ttl_minutes, ttl_strategy
            from threads
           cross join lateral (select case rest_status when 'interrupted' then 'interrupted' else 'idle' end) as rest (status)
           where thread_id = $1
          returning thread_id)
        insert into thread_owner (thread_id) select thread_id from copied`,
      values: [sourceId, copyId, principal.identity],
    });
    await copyThreadCheckpoints(tx, sourceId, copyId);
    await copyEffects(tx, sourceId, copyId);
    const encryption = encryptionOf(pool);
    if (encryption) {
      const copied = { from: sourceId, to: copyId };
      await resealCopy(tx, encryption, copied);
      await resealEffects(tx, encryption, copied);
      await resealThread(tx, encryption, copied);
    }
    return source.status === "idle" || source.status === "interrupted";
  });
  // The copy is there: where its row cannot be brought up to date it says what the original's said.
  if (!isRowCurrent) await refreshCopy({ pool, graphs }, principal, copyId).catch(() => undefined);
  return getThread(pool, principal, copyId);
}

/** Waits for the write that is under way on the source and holds up the next one, so that the copy is of one moment. */
async function holdSource(tx: Queryable, { tenant }: Principal, sourceId: ThreadId): Promise<{ status: string }> {
  const { rows } = await tx.query<{ status: string }>({
    name: "lock-thread-to-copy",
    text: "select status from threads where tenant = $1 and thread_id = $2 for share",
    values: [tenant, sourceId],
  });
  if (!rows[0]) {
    const facts = { thread_id: sourceId };
    throw new PawlError("copy_source_missing", `Thread ${sourceId} is not there to be copied`, { facts });
  }
  await tx.query({
    name: "hold-owner-to-copy",
    text: "select from thread_owner where thread_id = $1 for no key update",
    values: [sourceId],
  });
  return rows[0];
}

/** The source's row lags behind its checkpoints while a run is under way, and after one that failed. */
async function refreshCopy(context: { pool: pg.Pool; graphs: Graphs }, principal: Principal, copyId: ThreadId) {
  const { pool, graphs } = context;
  const known = await graphOfThread({ db: pool, graphs }, principal, copyId);
  if (known) await refreshThread(pool, { thread_id: copyId, epoch: "0" }, known);
}
