/**
 * Lists checkpoints newest first, a page at a time: whoever reads a long history holds one page of it, and whoever stops
 * has read no more than that. What is stored meanwhile is newer than all that is still to come, and does not appear.
 */
import type { RunnableConfig } from "@langchain/core/runnables";
import type { CheckpointListOptions } from "@langchain/langgraph-checkpoint";
import type { Queryable } from "../db/pool.ts";
import { byId } from "./by-id.ts";
import type { Encryption } from "./encryption.ts";
import { readTuples, type StoredTuple } from "./read-tuples.ts";
import { WHOLE_METADATA } from "./short-rows.ts";

/** Checkpoints with all their values in memory at once. */
const PAGE = 25;

/** A `seq` that none reaches. */
const AFTER_ALL = "9223372036854775807";

/** The `seq` of the checkpoint `$5`: in the namespace that is listed, or else in whichever it is. */
const PLACE = `coalesce(
          (select b.seq from checkpoints b
            where b.thread_id = $1 and b.checkpoint_ns = coalesce($2, '') and ${byId("b", "$5")}),
          (select min(b.seq) from checkpoints b where b.checkpoint_id = $5 and ($1 is null or b.thread_id = $1)))`;

/** What of the thread, namespace and id the config does not name is not asked for; `before` is that checkpoint's place in time. */
export async function* listTuples(
  db: Queryable,
  { config, encryption }: { config: RunnableConfig; encryption: Encryption | undefined },
  { limit = Number.POSITIVE_INFINITY, before, filter }: CheckpointListOptions = {},
): AsyncGenerator<StoredTuple> {
  const { thread_id, checkpoint_ns, checkpoint_id } = config.configurable ?? {};
  const wanted = [
    thread_id ?? null,
    checkpoint_ns ?? null,
    checkpoint_id || null,
    Object.keys(filter ?? {}).length > 0 ? JSON.stringify(filter) : null,
    before?.configurable?.["checkpoint_id"] ?? null,
  ];
  let after: string | null = null;
  for (let left = limit; left > 0; left -= PAGE) {
    const page: StoredTuple[] = await readTuples(db, {
      where: `
        ($1::text is null or thread_id = $1)
        and ($2::text is null or checkpoint_ns = $2)
        and ($3::text is null or checkpoint_id = $3)
        and ($4::jsonb is null or ${WHOLE_METADATA} @> $4)
        and ($5::text is null or seq < coalesce(${PLACE}, ${AFTER_ALL}) and (${PLACE} is not null or checkpoint_id < $5))
        and ($6::bigint is null or seq < $6)`,
      encryption,
      values: [...wanted, after],
      limit: Math.min(left, PAGE),
    });
    yield* page;
    if (page.length < PAGE) return;
    after = page.at(-1)?.seq ?? null;
  }
}
