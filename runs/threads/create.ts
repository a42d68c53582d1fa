/** New threads, always together with their owner row. Ids are unique across tenants. */
import { Command } from "@langchain/langgraph";
import type pg from "pg";
import { z } from "zod";
import { encryptionOf } from "../../checkpoints/encryption.ts";
import { FencedSaver } from "../../checkpoints/fenced-saver.ts";
import { Saver } from "../../checkpoints/saver.ts";
import type { Owner } from "../../db/fence.ts";
import { type Queryable, transaction } from "../../db/pool.ts";
import { isPawlError, PawlError } from "../../lib/errors.ts";
import { ThreadId, uuidv7 } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import { loadGraph } from "../assistants/load-graph.ts";
import { type Graphs, RunCommand } from "../index.ts";
import { gotoOf } from "../input.ts";
import { getThread } from "./get.ts";
import { configAt } from "./graph.ts";
import { refreshWithin } from "./refresh.ts";
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
  const given = { threadId, metadata, ttl: body.ttl ?? defaultTtl };
  const created = await (replay
    ? replayed(pool, principal, { ...given, replay })
    : insertThread(pool, principal, given));
  if (!created) return existing(pool, principal, { threadId, mayExist: body.if_exists === "do_nothing" });
  return replay ? getThread(pool, principal, threadId) : created.thread;
}

/** The thread and what is on it come with one commit: nobody finds it half-filled, whoever dies on the way. */
function replayed(
  pool: pg.Pool,
  principal: Principal,
  { replay, ...given }: NewThread & { readonly replay: Replay },
): ReturnType<typeof insertThread> {
  return transaction(pool, async (tx) => {
    const created = await insertThread(tx, principal, given);
    if (created) await replay(pool, tx, { thread_id: given.threadId, epoch: created.epoch });
    return created;
  });
}

interface NewThread {
  readonly threadId: ThreadId;
  readonly metadata: Record<string, unknown>;
  readonly ttl: ThreadTtl | undefined;
}

/** With the epoch at which it begins. Undefined when the id is taken, by whichever tenant. */
export async function insertThread(
  db: Queryable,
  { tenant, identity }: Principal,
  { threadId, metadata, ttl }: NewThread,
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

/** Fills a thread that its transaction has made. */
type Replay = (pool: pg.Pool, tx: Queryable, owner: Owner & { readonly thread_id: ThreadId }) => Promise<void>;

/** Everything that can be refused before there is a thread. */
async function prepareReplay(
  graphs: Graphs,
  metadata: Json,
  supersteps: NonNullable<ThreadCreate["supersteps"]>,
): Promise<Replay> {
  const graphId = metadata["graph_id"];
  if (typeof graphId !== "string") {
    throw new PawlError("invalid_input", "supersteps need metadata.graph_id: the graph whose nodes wrote them");
  }
  const graph = await loadGraph(graphs, graphId, {});
  const steps = supersteps.map(({ updates }) => ({
    updates: updates.map(({ values, command, as_node }) => ({
      values: command ? commandOf(command) : values,
      asNode: as_node,
    })),
  }));
  return async (pool, tx, owner) => {
    const saver = new FencedSaver(tx as pg.Pool, owner, { like: new Saver(pool) });
    const place = { threadId: owner.thread_id, configurable: {} };
    try {
      await graph.bulkUpdateState(configAt(place, saver), steps);
      await refreshWithin(tx, owner, { saver, graph, configurable: {}, encryption: encryptionOf(pool) });
    } catch (error) {
      throw refusedUpdate(error, owner.thread_id);
    }
    // Writes on the way have left it to a later commit that they are on disk: this is the one.
    await tx.query("set local synchronous_commit to default");
  };
}

function commandOf({ update, goto, resume }: z.infer<typeof RunCommand>): Command {
  return new Command({
    ...(update && { update }),
    ...(resume !== undefined && { resume }),
    ...(goto && { goto: gotoOf(goto) }),
  });
}
