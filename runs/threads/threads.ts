/** What the server may ask about threads. */
import type pg from "pg";
import { z } from "zod";
import { transaction } from "../../db/pool.ts";
import { isPawlError } from "../../lib/errors.ts";
import type { ThreadId } from "../../lib/ids.ts";
import type { Principal } from "../../lib/principal.ts";
import type { Graphs } from "../index.ts";
import type { CheckpointRef } from "../stream/checkpoint-ref.ts";
import type { ThreadState } from "../stream/state.ts";
import { copyThread } from "./copy.ts";
import { createThread, type ThreadCreate } from "./create.ts";
import { deleteThread } from "./delete.ts";
import { createThreadFiles, type ThreadFiles } from "./files.ts";
import { getThread } from "./get.ts";
import { patchState } from "./patch-state.ts";
import { patchThread, type ThreadPatch } from "./patch.ts";
import { countThreads, searchThreads, type ThreadFilter, type ThreadPage, type ThreadSearch } from "./search.ts";
import { keepLatest } from "./prune.ts";
import { getHistory, getState, type HistoryQuery, type StateQuery } from "./state.ts";
import type { ListedThread, Thread } from "./thread.ts";
import { getTtl, type ShownTtl, type ThreadTtl } from "./ttl.ts";
import { type StateUpdate, updateState } from "./update-state.ts";

export const PruneStrategy = z.enum(["delete", "keep_latest"]);
export type PruneStrategy = z.infer<typeof PruneStrategy>;

type On<T> = T & { readonly threadId: ThreadId };

/** Whoever names a thread that is not there, or another tenant's, gets `thread_not_found`. */
export interface Threads {
  readonly files: ThreadFiles;
  /** Throws `already_exists`, and `invalid_input` for supersteps that cannot be replayed. */
  create(principal: Principal, body: ThreadCreate): Promise<Thread>;
  get(principal: Principal, threadId: ThreadId): Promise<Thread>;
  /** Null for a thread that stays. */
  ttl(principal: Principal, threadId: ThreadId): Promise<ShownTtl | null>;
  search(principal: Principal, search: ThreadSearch): Promise<ThreadPage>;
  count(principal: Principal, filter: ThreadFilter): Promise<number>;
  /** The thread as a list shows it. */
  patch(principal: Principal, patch: On<ThreadPatch>): Promise<ListedThread>;
  /** Ends what is under way on it. */
  delete(principal: Principal, threadId: ThreadId): Promise<void>;
  /**
   * Deletes the threads, or all that their newest state does not need; returns how many. Passes over those that are not
   * there, and busy ones that would stay.
   */
  prune(principal: Principal, threadIds: readonly ThreadId[], strategy: PruneStrategy): Promise<number>;
  /** Throws `copy_source_missing`. */
  copy(principal: Principal, threadId: ThreadId): Promise<Thread>;
  /** Throws `checkpoint_not_found`, `graph_not_found`. */
  state(principal: Principal, query: StateQuery): Promise<ThreadState>;
  /** Newest first. Throws `graph_not_found`. */
  history(principal: Principal, query: On<HistoryQuery>): Promise<ThreadState[]>;
  /** Throws `thread_busy`, `invalid_input`, `checkpoint_not_found`, `graph_not_found`. */
  updateState(principal: Principal, update: On<StateUpdate>): Promise<CheckpointRef | null>;
  /** Merges metadata into that of the newest checkpoint. Throws `thread_busy`. */
  patchState(principal: Principal, patch: On<{ metadata: Record<string, unknown> }>): Promise<void>;
}

interface ThreadsContext {
  readonly pool: pg.Pool;
  readonly graphs: Graphs;
  /** Of new threads that are given none. */
  readonly defaultTtl?: ThreadTtl | undefined;
  /** Called for each run that was deleted while it was live, so that its worker stops at once and not at its next write. */
  readonly onRunDeleted?: (runId: string) => void;
}

export function createThreads(context: ThreadsContext): Threads {
  const { pool, onRunDeleted } = context;

  async function remove(principal: Principal, threadId: ThreadId): Promise<void> {
    const live = await transaction(pool, (tx) => deleteThread(tx, principal, threadId));
    for (const runId of live) onRunDeleted?.(runId);
  }

  return {
    files: createThreadFiles(pool),
    create: (principal, body) => createThread(context, principal, body),
    get: (principal, threadId) => getThread(pool, principal, threadId),
    ttl: (principal, threadId) => getTtl(pool, principal, threadId),
    search: (principal, search) => searchThreads(pool, principal, search),
    count: (principal, filter) => countThreads(pool, principal, filter),
    patch: (principal, patch) => patchThread(pool, principal, patch),
    delete: remove,
    async prune(principal, threadIds, strategy) {
      let pruned = 0;
      for (const threadId of new Set(threadIds)) {
        try {
          await (strategy === "delete" ? remove(principal, threadId) : keepLatest(pool, principal, threadId));
          pruned += 1;
        } catch (error) {
          if (!isPawlError(error, "thread_not_found") && !isPawlError(error, "thread_busy")) throw error;
        }
      }
      return pruned;
    },
    copy: (principal, threadId) => copyThread(context, principal, threadId),
    state: (principal, query) => getState(context, principal, query),
    history: (principal, query) => getHistory(context, principal, query),
    updateState: (principal, update) => updateState(context, principal, update),
    patchState: (principal, patch) => patchState(pool, principal, patch),
  };
}
