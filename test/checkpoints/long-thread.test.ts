/**
 * How much of a long thread a read of one checkpoint looks at: of a table that nobody has analysed, as it is in the first
 * minutes of a thread and after a restore, and of one that somebody has.
 */
import type pg from "pg";
import { describe, expect, test } from "vitest";
import { readDeltaHistory } from "../../checkpoints/delta-history.ts";
import { FilesInPostgres, versionAt } from "../../checkpoints/files.ts";
import { readStandings } from "../../checkpoints/read-parked.ts";
import { readNulls } from "../../checkpoints/read-nulls.ts";
import { readWaiting } from "../../checkpoints/read-waiting.ts";
import { Saver } from "../../checkpoints/saver.ts";
import type { Owner } from "../../db/fence.ts";
import { type Queryable, transaction } from "../../db/pool.ts";
import { noFiles } from "../../lib/file-versions.ts";
import { testDatabase } from "../support/database.ts";
import { gather, newThread, putList } from "./support.ts";

const LENGTH = 5_000;
const idOf = (n: number) => String(n).padStart(36, "0");

/** Each checkpoint with something that a task has written to it, which a reader may look for first. */
async function longThread(pool: pg.Pool): Promise<Owner> {
  const owner = await newThread(pool);
  await pool.query("alter table checkpoints set (autovacuum_enabled = off)");
  await pool.query(
    `with stored as (
       insert into checkpoints (thread_id, checkpoint_id, parent_checkpoint_id, checkpoint, metadata, files)
       select $1, lpad(n::text, 36, '0'), lpad((n - 1)::text, 36, '0'),
              jsonb_build_object('v', 4, 'id', lpad(n::text, 36, '0'), 'channel_versions', '{"branch:to:next": "1.5"}'::jsonb),
              '{"parents": {}}', ''
         from generate_series(1, $2) n
       returning checkpoint_id)
     insert into checkpoint_writes (thread_id, checkpoint_id, task_id, idx, channel, type, blob)
     select $1, checkpoint_id, 'task', -3, '__interrupt__', 'json', '{"id": "asked"}' from stored`,
    [owner.thread_id, LENGTH],
  );
  return owner;
}

/** Rows of `checkpoints` that `work` has Postgres look at. */
async function looksAt(pool: pg.Pool, work: (tx: Queryable) => Promise<unknown>): Promise<number> {
  return transaction(pool, async (tx) => {
    const before = await fetched(tx);
    await work(tx);
    return (await fetched(tx)) - before;
  });
}

async function fetched(tx: Queryable): Promise<number> {
  const { rows } = await tx.query<{ rows: string }>(
    "select idx_tup_fetch + seq_tup_read as rows from pg_stat_xact_user_tables where relname = 'checkpoints'",
  );
  return Number(rows[0]?.rows);
}

/** An early checkpoint, so that whoever begins with the newest looks at all of them. */
const early = idOf(7);
const saverOn = (tx: Queryable) => new Saver(tx as unknown as pg.Pool);

const reads: Readonly<Record<string, (tx: Queryable, thread_id: string) => Promise<unknown>>> = {
  "a checkpoint by its id": async (tx, thread_id) => {
    const read = await saverOn(tx).getTuple({ configurable: { thread_id, checkpoint_id: early } });
    expect(read?.checkpoint.id).toBe(early);
  },
  "a checkpoint by its id, where its values are known": async (tx, thread_id) => {
    const saver = saverOn(tx);
    await saver.getTuple({ configurable: { thread_id } });
    const read = await saver.getTuple({ configurable: { thread_id, checkpoint_id: early } });
    expect(read?.checkpoint.id).toBe(early);
  },
  "what a delta channel is computed from": async (tx, threadId) => {
    const query = { threadId, ns: "", checkpointId: early, channels: ["__interrupt__"], encryption: undefined };
    expect(await readDeltaHistory(tx, query)).toHaveLength(6);
  },
  "what a checkpoint waits for": async (tx, thread_id) => {
    expect(await readWaiting(tx, { thread_id, checkpoint_id: early })).toHaveLength(1);
  },
  "where a thread stands": async (tx, thread_id) => {
    const standings = await readStandings(saverOn(tx), [{ thread_id, checkpoint_id: early }], tx);
    expect(standings.get(thread_id)?.root.checkpoint.id).toBe(early);
  },
  "which channels the checkpoint before has null in": async (tx, thread_id) => {
    const at = { thread_id, checkpoint_ns: "", parent: early };
    expect(await readNulls(tx, at, new Map([["branch:to:next", "1.5"]]))).toEqual(new Map());
  },
  "the files that a fork begins with": async (tx, thread_id) => {
    const { rows } = await tx.query(`select encode(${versionAt("$1", "$2")}, 'hex') as files`, [thread_id, early]);
    expect(rows).toEqual([{ files: noFiles }]);
  },
  "a page of the history before a checkpoint": async (tx, thread_id) => {
    const before = { configurable: { checkpoint_id: idOf(2_500) } };
    const page = await gather(
      saverOn(tx).list({ configurable: { thread_id, checkpoint_ns: "" } }, { before, limit: 5 }),
    );
    expect(page.map(({ checkpoint }) => checkpoint.id)).toEqual([2_499, 2_498, 2_497, 2_496, 2_495].map(idOf));
  },
};

describe.each(["not analysed", "analysed"])("of a long thread that is %s a few rows are looked at for", (state) => {
  test("each read of one checkpoint", async () => {
    await using db = await testDatabase();
    const { thread_id } = await longThread(db.pool);
    if (state === "analysed") await db.pool.query("analyze checkpoints, checkpoint_writes");

    for (const [what, read] of Object.entries(reads)) {
      // More than five times, so that the plan is also one that Postgres keeps for all parameters.
      for (let i = 0; i < 8; i += 1) {
        expect(await looksAt(db.pool, (tx) => read(tx, thread_id)), `${what}, time ${i}`).toBeLessThan(20);
      }
    }
  });

  test("the first step of a fork", async () => {
    await using db = await testDatabase();
    const { thread_id } = await longThread(db.pool);
    if (state === "analysed") await db.pool.query("analyze checkpoints, checkpoint_writes");

    for (const checkpoint_id of [early, idOf(LENGTH)]) {
      const config = { configurable: { thread_id, checkpoint_ns: "", checkpoint_id } };
      expect(await looksAt(db.pool, (tx) => putList(saverOn(tx), config, ["said"]))).toBe(1);
    }
  });

  test("the newest files, at a checkpoint that is stored and at one that is not", async () => {
    await using db = await testDatabase();
    const owner = await longThread(db.pool);
    if (state === "analysed") await db.pool.query("analyze checkpoints, checkpoint_writes");

    for (const checkpointId of [early, "not stored yet"]) {
      const newest = (tx: Queryable) =>
        new FilesInPostgres({ db: tx, owner, encryption: undefined, checkpointId }).newest();
      expect(await newest(db.pool)).toBe(noFiles);
      expect(await looksAt(db.pool, newest)).toBeLessThan(10);
    }
  });
});
