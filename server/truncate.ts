/** Empties tables, for conformance suites that want a fresh server. Deletes, so that nothing waits for a table lock. */
import type pg from "pg";
import { transaction } from "../db/pool.ts";
import type { Truncate } from "./meta.ts";

/** The assistants that stand for graphs stay: the server would not work without. */
export async function truncate(pool: pg.Pool, what: Truncate): Promise<void> {
  const statements = [
    what.runs && "delete from runs",
    (what.threads || what.runs) && "delete from thread_events",
    what.threads && "delete from threads",
    (what.threads || what.checkpointer) && "delete from checkpoint_writes",
    (what.threads || what.checkpointer) && "delete from checkpoint_blobs",
    (what.threads || what.checkpointer) && "delete from checkpoint_items",
    (what.threads || what.checkpointer) && "delete from checkpoints",
    (what.threads || what.checkpointer) && "delete from file_changes",
    (what.threads || what.checkpointer) && "delete from file_versions",
    (what.threads || what.checkpointer) && "delete from file_contents",
    what.assistants && "delete from assistants where metadata ->> 'created_by' is distinct from 'system'",
  ];
  await transaction(pool, async (tx) => {
    for (const statement of statements) if (statement) await tx.query(statement);
  });
}
