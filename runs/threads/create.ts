/** New threads, always together with their owner row. Ids are unique across tenants. */
import { Command } from "@langchain/langgraph";
import type pg from "pg";
import { z } from "zod";
import { FencedSaver } from "../../checkpoints/fenced-saver.ts";
import type { Owner } from "../../db/fence.ts";
import { type Queryable, transaction } from "../../db/pool.ts";
import { isPawlError, PawlError } from "../../lib/errors.ts";
import { ThreadId, uuidv7 } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import { loadGraph } from "../assistants/load-graph.ts";
import { type Graphs, RunCommand } from "../index.ts";
import { gotoOf } from "../input.ts";
import { lockThread } from "../queue.ts";
import { deleteThread } from "./delete.ts";
import { getThread } from "./get.ts";
import { configAt } from "./graph.ts";
import { refreshThread } from "./refresh.ts";
import { Json, Thread, threadColumns } from "./thread.ts";
import { ThreadTtl } from "./ttl.ts";
import { NodeName, refusedUpdate } from "./update-state.ts";

const Update = z.object({
  values: z.unknown().optional(),
  command: RunCommand.nullish(),
  as_node: NodeName,
});

/** Unknown keys are ignored. */
export const ThreadCreate = z.object({
  thread_id: ThreadId.nullish(),
  metadata: Json.nullish(),
  if_exists: z.enum(["raise", "do_nothing"]).nullish(),
  ttl: ThreadTtl.nullish(),
  /** What nodes wrote in a conversation that happened elsewhere; replayed into checkpoints. */
  supersteps: z.array(z.object({ updates: z.array(Update).min(1) })).nullish(),
});
export type ThreadCreate = z.infer<typeof ThreadCreate>;

/**
 * Throws `already_exists` (also when the id is taken by another tenant); `invalid_input` for supersteps without
 * `metadata.graph_id` or that the graph refuses, and then there is no thread.
 */
export async function createThread(
  { pool, graphs, defaultTtl }: { pool: pg.Pool; graphs: Graphs; defaultTtl?: ThreadTtl | undefined },
  principal: Principal,
  body: ThreadCreate,
): Promise<Thread> {
  const threadId = body.thread_id ?? ThreadId.parse(uuidv7());
  const metadata = body.metadata ?? {};
  const replay = body.supersteps?.length ? await prepareReplay(graphs, metadata, body.supersteps) : undefined;
  const created = await insertThread(pool, principal, { threadId, metadata, ttl: body.ttl ?? defaultTtl });
  if (!created) return existing(pool, principal, { threadId, mayExist: body.if_exists === "do_nothing" });
  if (!replay) return created.thread;
  try {
    await replay(pool, { thread_id: threadId, epoch: created.epoch });
  } catch (error) {
    await deleteUnused(pool, principal, threadId);
    throw refusedUpdate(error, threadId);
  }
  return getThread(pool, principal, threadId);
}

/** With the epoch at which it begins. Undefined when the id is taken, by whichever tenant. */
export async function insertThread(
  db: Queryable,
  { tenant, identity }: Principal,
  { threadId, metadata, ttl }: { threadId: ThreadId; metadata: Record<string, unknown>; ttl: ThreadTtl | undefined },
): Promise<{ thread: Thread; epoch: string } | undefined> {
  const { rows } = await db.query<{ epoch: string }>({
    name: "create-thread",
    text: `
      with created as (
        insert into threads (thread_id, tenant, created_by, metadata, graph_id, ttl_minutes, ttl_strategy)
        values ($1, $2, $3, $4, $4::jsonb ->> 'graph_id', $5, $6)
        on conflict (thread_id) do nothing
        returning ${threadColumns}),
      owned as (
        insert into thread_owner (thread_id) select thread_id from created
        returning thread_id, epoch)
      select created.*, owned.epoch from created join owned using (thread_id)`,
    values: [threadId, tenant, identity, metadata, ttl?.ttl ?? null, ttl?.strategy ?? null],
  });
  return rows[0] && { thread: Thread.parse(rows[0]), epoch: rows[0].epoch };
}

async function existing(
  pool: pg.Pool,
  principal: Principal,
  { threadId, mayExist }: { threadId: ThreadId; mayExist: boolean },
): Promise<Thread> {
  if (mayExist) {
    try {
      return await getThread(pool, principal, threadId);
    } catch (error) {
      if (!isPawlError(error, "thread_not_found")) throw error;
    }
  }
  throw new PawlError("already_exists", `Thread ${threadId} already exists`, { facts: { thread_id: threadId } });
}

/** Someone else who knows the id may have begun a run on the thread already: then it stays. */
async function deleteUnused(pool: pg.Pool, principal: Principal, threadId: ThreadId): Promise<void> {
  await transaction(pool, async (tx) => {
    await lockThread(tx, threadId);
    const { rowCount } = await tx.query({
      name: "find-run-of-thread",
      text: "select from runs where thread_id = $1 limit 1",
      values: [threadId],
    });
    if (rowCount === 0) await deleteThread(tx, principal, threadId);
  });
}

/** Everything that can be refused before there is a thread. */
async function prepareReplay(graphs: Graphs, metadata: Json, supersteps: NonNullable<ThreadCreate["supersteps"]>) {
  const graphId = metadata["graph_id"];
  if (typeof graphId !== "string") {
    throw new PawlError("invalid_input", "supersteps need metadata.graph_id: the graph whose nodes wrote them");
  }
  const graph = await loadGraph(graphs, graphId, {});
  const replayed = supersteps.map(({ updates }) => ({
    updates: updates.map(({ values, command, as_node }) => ({
      values: command ? commandOf(command) : values,
      asNode: as_node,
    })),
  }));
  return async (pool: pg.Pool, owner: Owner & { readonly thread_id: ThreadId }): Promise<void> => {
    const threadId = owner.thread_id;
    await graph.bulkUpdateState(configAt({ threadId, configurable: {} }, new FencedSaver(pool, owner)), replayed);
    await refreshThread(pool, owner, { graph, configurable: {} });
  };
}

function commandOf({ update, goto, resume }: z.infer<typeof RunCommand>): Command {
  return new Command({
    ...(update && { update }),
    ...(resume !== undefined && { resume }),
    ...(goto && { goto: gotoOf(goto) }),
  });
}
