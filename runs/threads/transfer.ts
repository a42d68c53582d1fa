/** Threads out of this installation and into it, as the lines of checkpoints/transfer-lines.ts. */
import type pg from "pg";
import { type Encryption, encryptionOf } from "../../checkpoints/encryption.ts";
import { ownCheckpoints, ownTarget } from "../../checkpoints/own-tables.ts";
import { stockCheckpoints, stockTarget } from "../../checkpoints/stock-tables.ts";
import {
  linesOf,
  parseLine,
  type ThreadLine,
  transfer,
  type TransferredCheckpoint,
  type TransferTarget,
} from "../../checkpoints/transfer-lines.ts";
import { type Queryable, transaction } from "../../db/pool.ts";
import { PawlError } from "../../lib/errors.ts";
import { ThreadId } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import { insertThread } from "./create.ts";
import { threadNotFound } from "./get.ts";
import { openThread, storedState } from "./sealed-state.ts";

/** Takes a line with its line break; resolves when it may have the next. */
export type WriteLine = (line: string) => Promise<void>;

/** Runs and events stay behind. As of one moment, whatever happens on the thread. Throws `thread_not_found`. */
export async function exportThread(
  pool: pg.Pool,
  { tenant }: Principal,
  { threadId, write }: { threadId: ThreadId; write: WriteLine },
): Promise<void> {
  await atOneMoment(pool, async (tx) => {
    const { rows } = await tx.query<NonNullable<ThreadLine["row"]>>({
      name: "thread-to-export",
      text: `
        select graph_id, metadata, config, rest_status as status, "values", interrupts
          from threads where tenant = $1 and thread_id = $2`,
      values: [tenant, threadId],
    });
    if (!rows[0]) throw threadNotFound(threadId);
    const encryption = encryptionOf(pool);
    const { thread_id, ...row } = openThread(encryption, { ...rows[0], thread_id: threadId });
    const checkpoints = ownCheckpoints({ db: tx, threadId, encryption });
    await writeLines({ thread_id, row }, { checkpoints, write });
  });
}

/** From a database that only LangGraph's own saver writes to. A thread that is not there has no checkpoints. */
export async function exportStockThread(
  pool: pg.Pool,
  { threadId, write }: { threadId: string; write: WriteLine },
): Promise<void> {
  await atOneMoment(pool, (tx) =>
    writeLines({ thread_id: threadId }, { checkpoints: stockCheckpoints(tx, threadId), write }),
  );
}

interface Import {
  readonly lines: AsyncIterable<string>;
  /** Under another id than it had. */
  readonly threadId?: string | undefined;
}

export interface Imported {
  readonly thread_id: string;
  readonly checkpoints: number;
}

/**
 * All of a thread, or nothing. `graphId` for one that comes from the stock saver, which does not know its graph.
 * Throws `already_exists`, and `invalid_input` for lines that are no whole export.
 */
export async function importThread(
  pool: pg.Pool,
  principal: Principal,
  { graphId, ...given }: Import & { readonly graphId?: string | undefined },
): Promise<Imported> {
  const { thread, rest } = await begin(given);
  const parsed = ThreadId.safeParse(thread.thread_id);
  if (!parsed.success) {
    throw new PawlError("invalid_input", `${thread.thread_id} is no UUID: name another id for the thread`);
  }
  const threadId = parsed.data;
  return transaction(pool, async (tx) => {
    const metadata = { ...thread.row?.metadata, ...(graphId !== undefined && { graph_id: graphId }) };
    const created = await insertThread(tx, principal, { threadId, metadata, ttl: undefined });
    if (!created || (await hasCheckpoints(tx, threadId))) throw taken(threadId);
    const encryption = encryptionOf(pool);
    if (thread.row) await restoreRow(tx, { threadId, encryption }, thread.row);
    return fill(threadId, { rest, target: ownTarget({ db: tx, threadId, encryption }) });
  });
}

/** Into the tables of LangGraph's own saver, in its own form. Throws `already_exists`, `invalid_input`. */
export async function importStockThread(pool: pg.Pool, given: Import): Promise<Imported> {
  const { thread, rest } = await begin(given);
  return transaction(pool, async (tx) => {
    if (await hasCheckpoints(tx, thread.thread_id)) throw taken(thread.thread_id);
    return fill(thread.thread_id, { rest, target: stockTarget(tx, thread.thread_id) });
  });
}

async function atOneMoment(pool: pg.Pool, work: (tx: Queryable) => Promise<void>): Promise<void> {
  await transaction(pool, async (tx) => {
    await tx.query("set transaction isolation level repeatable read, read only");
    await work(tx);
  });
}

async function writeLines(
  thread: Omit<ThreadLine, "kind" | "format">,
  { checkpoints, write }: { checkpoints: AsyncIterable<TransferredCheckpoint>; write: WriteLine },
): Promise<void> {
  for await (const line of linesOf(thread, checkpoints)) await write(`${JSON.stringify(line)}\n`);
}

async function begin({ lines, threadId }: Import): Promise<{ thread: ThreadLine; rest: AsyncIterable<string> }> {
  const rest = lines[Symbol.asyncIterator]();
  const first = await rest.next();
  const thread = first.done ? undefined : parseLine(first.value);
  if (thread?.kind !== "thread") throw new PawlError("invalid_input", "An export begins with its thread");
  return {
    thread: threadId === undefined ? thread : { ...thread, thread_id: threadId },
    rest: { [Symbol.asyncIterator]: () => rest },
  };
}

async function fill(
  threadId: string,
  { rest, target }: { rest: AsyncIterable<string>; target: TransferTarget },
): Promise<Imported> {
  return { thread_id: threadId, checkpoints: await transfer(rest, target) };
}

async function hasCheckpoints(db: Queryable, threadId: string): Promise<boolean> {
  const { rowCount } = await db.query("select from checkpoints where thread_id = $1 limit 1", [threadId]);
  return rowCount === 1;
}

async function restoreRow(
  tx: Queryable,
  { threadId, encryption }: { threadId: ThreadId; encryption: Encryption | undefined },
  row: NonNullable<ThreadLine["row"]>,
): Promise<void> {
  const { values = null, interrupts } = row;
  const stored = storedState(encryption, threadId, { values, interrupts });
  await tx.query({
    name: "restore-thread-row",
    text: `
      update threads
         set graph_id = coalesce(graph_id, $2), config = $3, "values" = $4, interrupts = $5,
             status = case $6 when 'interrupted' then 'interrupted' else 'idle' end,
             rest_status = case $6 when 'interrupted' then 'interrupted' else 'idle' end
       where thread_id = $1`,
    values: [threadId, row.graph_id, row.config, stored.values, stored.interrupts, row.status],
  });
}

function taken(threadId: string): PawlError {
  return new PawlError("already_exists", `Thread ${threadId} already exists`, { facts: { thread_id: threadId } });
}
