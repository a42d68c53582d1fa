/**
 * Group commit: writes of several threads that come while others are under way go to Postgres in one packet and are
 * committed together. To commit, to wait for the disk and to wake each other costs both sides as much as the writes do.
 * Who comes while nobody is under way does not wait.
 *
 * No write holds up another: one that would have to wait for a lock is left out and made by itself, and when one fails
 * the group is undone, and each is made by itself.
 */
import type { Pool } from "pg";
import { type Queryable, transactionAtOnce } from "./pool.ts";

/** A column of a CTE, in SQL: the commit does not wait for the disk. */
export const LAZY = "set_config('synchronous_commit', 'off', true)";

export interface GroupedWrite<T> {
  /** Writes of one thread never share a transaction, and the threads of each come in order: no two wait for each other. */
  readonly threadId: string;
  /** Bytes that it sends, about. */
  readonly size: number;
  /** Whether the commit may leave it to a later one that it is on disk. */
  readonly lazy: boolean;
  /**
   * Sends one statement, before it waits for anything; the statement waits for no lock. Undefined when it wrote nothing,
   * for whatever reason. `lazy`: of the group.
   */
  readonly inGroup: (db: Queryable, group: { readonly lazy: boolean }) => Promise<T | undefined>;
  /** By itself; it may have been made already, if the answer was lost. */
  readonly alone: () => Promise<T>;
}

const MAX_WRITES = 32;
/** A group has to fit between the two sides at once: half of one would keep its locks while its sender is stopped. */
const MAX_BYTES = 64 * 1_024;
const MAX_UNDER_WAY = 2;
/** Milliseconds after which a group does not count as under way any more: its connection may be dead. */
const SLOW_MS = 250;

/** What a statement takes besides, about. */
const FRAME = 2_000;

/** Of a statement by its parameters; those that are no text or bytes are short. */
export function sizeOf(parameters: readonly unknown[]): number {
  return parameters.reduce<number>(
    (sum, each) => sum + (typeof each === "string" || each instanceof Uint8Array ? each.length : 0),
    FRAME,
  );
}

export function writeGrouped<T>(pool: Pool, write: GroupedWrite<T>): Promise<T> {
  if (write.size > MAX_BYTES) return write.alone();
  const known = groups.get(pool);
  const queue = known ?? new GroupCommit(pool);
  if (!known) groups.set(pool, queue);
  return queue.write(write);
}

interface Waiting extends Pick<GroupedWrite<unknown>, "threadId" | "size" | "lazy"> {
  send(db: Queryable, group: { readonly lazy: boolean }): Promise<void>;
  settle(isCommitted: boolean): void;
}

class GroupCommit {
  readonly #pool: Pool;
  #waiting: Waiting[] = [];
  #underWay = 0;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  write<T>({ inGroup, alone, ...about }: GroupedWrite<T>): Promise<T> {
    const written = Promise.withResolvers<T>();
    let result: T | undefined;
    this.#waiting.push({
      ...about,
      send: async (db, group) => {
        result = await inGroup(db, group);
      },
      settle: (isCommitted) => {
        if (isCommitted && result !== undefined) written.resolve(result);
        else alone().then(written.resolve, written.reject);
      },
    });
    this.#next();
    return written.promise;
  }

  #next(): void {
    while (this.#underWay < MAX_UNDER_WAY && this.#waiting.length > 0) void this.#commit(this.#takeGroup());
  }

  async #commit(group: readonly Waiting[]): Promise<void> {
    this.#underWay += 1;
    let isCounted = true;
    const uncount = (): void => {
      if (isCounted) this.#underWay -= 1;
      isCounted = false;
    };
    const slow = setTimeout(() => {
      uncount();
      this.#next();
    }, SLOW_MS);
    const isCommitted = await send(this.#pool, group).then(
      () => true,
      () => false, // each finds out by itself
    );
    clearTimeout(slow);
    uncount();
    for (const write of group) write.settle(isCommitted);
    this.#next();
  }

  /** Those that have waited longest, in the order of their threads. */
  #takeGroup(): Waiting[] {
    const group = new Map<string, Waiting>();
    let size = 0;
    for (const write of this.#waiting) {
      if (group.size === MAX_WRITES || size + write.size > MAX_BYTES) break;
      if (group.has(write.threadId)) continue;
      group.set(write.threadId, write);
      size += write.size;
    }
    this.#waiting = this.#waiting.filter((write) => group.get(write.threadId) !== write);
    return [...group.values()].toSorted((a, b) => (a.threadId < b.threadId ? -1 : 1));
  }
}

const groups = new WeakMap<Pool, GroupCommit>();

async function send(pool: Pool, group: readonly Waiting[]): Promise<void> {
  const lazy = group.every((write) => write.lazy);
  const [only] = group;
  if (only && group.length === 1) return only.send(pool, { lazy });
  await transactionAtOnce(pool, (tx) => Promise.all(group.map((write) => write.send(tx, { lazy }))));
}
