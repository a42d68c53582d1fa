/** Brings a thread's row up to date with its newest checkpoint, after an edit that was no run. */
import type pg from "pg";
import { type Encryption, encryptionOf } from "../../checkpoints/encryption.ts";
import { pendingQuestions } from "../../checkpoints/questions.ts";
import { Saver } from "../../checkpoints/saver.ts";
import type { Owner } from "../../db/fence.ts";
import { type Queryable, transaction } from "../../db/pool.ts";
import { ThreadId } from "../../lib/ids.ts";
import { lockThread, settleThread } from "../queue.ts";
import { withSaver } from "../with-saver.ts";
import { configAt, type ThreadGraph } from "./graph.ts";
import { threadProjection } from "./projection.ts";
import { storedState } from "./sealed-state.ts";

type OfGraph = Pick<ThreadGraph, "graph" | "configurable">;

interface Shown extends ReturnType<typeof storedState> {
  readonly status: string;
}

/** Leaves the row alone when `owner` is no longer the last who wrote: the run that came after it knows better. */
export async function refreshThread(pool: pg.Pool, owner: Owner, of: OfGraph): Promise<void> {
  const shown = await shownState(new Saver(pool), owner, { ...of, encryption: encryptionOf(pool) });
  await transaction(pool, (tx) => storeShown(tx, owner, shown));
}

/** The same in the caller's transaction, in which `saver` reads. */
export async function refreshWithin(
  tx: Queryable,
  owner: Owner,
  { saver, ...of }: OfGraph & { readonly saver: Saver; readonly encryption: Encryption | undefined },
): Promise<void> {
  await storeShown(tx, owner, await shownState(saver, owner, of));
}

async function shownState(
  saver: Saver,
  { thread_id }: Owner,
  { graph, configurable, encryption }: OfGraph & { readonly encryption: Encryption | undefined },
): Promise<Shown> {
  const threadId = ThreadId.parse(thread_id);
  const state = await withSaver(graph, saver).getState(configAt({ threadId, configurable }, saver));
  const { status, ...shown } = threadProjection(state, await pendingQuestions(saver, { thread_id }));
  return { status, ...storedState(encryption, threadId, { ...shown, values: shown.values ?? null }) };
}

async function storeShown(tx: Queryable, { thread_id, epoch }: Owner, shown: Shown): Promise<void> {
  await lockThread(tx, thread_id);
  await tx.query({
    name: "refresh-thread",
    text: `
      update threads
         set rest_status = $3, "values" = $4, interrupts = $5, error = null, state_updated_at = now()
       where thread_id = $1
         and exists (select from thread_owner where thread_id = $1 and epoch = $2)`,
    values: [thread_id, epoch, shown.status, shown.values, shown.interrupts],
  });
  await settleThread(tx, thread_id);
}
