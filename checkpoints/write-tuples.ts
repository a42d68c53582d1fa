/**
 * Writes checkpoints and pending writes, each in one statement: the fence, if there is one, the values and the row
 * land together or not at all. Values are scalar parameters of a multi-row `values` list, which `pg` sends as they are;
 * an array of bytea would travel as hex text.
 */
import { fence, leaseLost, type Owner } from "../db/fence.ts";
import type { Queryable } from "../db/pool.ts";
import { versionAt } from "./files.ts";
import type { CheckpointColumns } from "./short-rows.ts";
import type { Item } from "./stored-chunks.ts";

/** The checkpoint whose files a new one begins with. */
export interface FilesFrom {
  /** Null for a thread's first checkpoint. */
  readonly checkpointId: string | null;
  /** Whether what its tasks did since belongs to the new one. */
  readonly withChanges: boolean;
}

export interface PutCheckpoint {
  readonly owner: Owner | null;
  /** Thread, namespace, checkpoint id, parent checkpoint id. */
  readonly row: readonly [string, string, string, string | null];
  readonly columns: CheckpointColumns;
  readonly values: readonly VersionRow[];
  /** What the values refer to and may not be there yet. */
  readonly items: readonly Item[];
  readonly beside?: readonly Beside[];
  /** Whether to leave it to the next commit that it is on disk. */
  readonly lazy?: boolean | undefined;
  /** Absent for a checkpoint of an inner graph, whose files are those of the outermost one. */
  readonly files?: FilesFrom | undefined;
}

/** Rows of another table. They are there already when the statement is repeated since its answer was lost. */
export interface Beside {
  /** For the name of the statement; one for each table. */
  readonly name: string;
  /** Table and columns, in SQL. */
  readonly into: string;
  readonly types: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
}

/** A row of checkpoint_blobs. */
export interface VersionRow {
  readonly channel: string;
  readonly version: string;
  readonly type: string;
  readonly blob: Uint8Array;
  readonly items?: readonly string[];
  /** The version that has to be there: this one is a delta on it, or refers to items that it leads to. */
  readonly needs?: string;
  readonly delta?: { readonly head: number; readonly tail: number };
}

/**
 * Returns the channels whose version was not there before; undefined when a version that another one needs is gone, and
 * nothing was written. Throws `lease_lost` when the owner has changed, and nothing was written.
 */
export async function putCheckpoint(db: Queryable, put: PutCheckpoint): Promise<Set<string> | undefined> {
  const { beside = [] } = put;
  const items = await putSurplus(db, put);
  const needs = put.values.flatMap(({ channel, needs: version }) =>
    version === undefined ? [] : [[channel, version]],
  );
  const parameters = new Parameters(put.owner);
  const [thread = "", ns = "", id, parent] = put.row.map((value) => `${parameters.add(value)}::text`);
  const checkpoint = `${parameters.add(JSON.stringify(put.columns.checkpoint))}::jsonb`;
  const metadata = `${parameters.add(JSON.stringify(put.columns.metadata))}::jsonb`;
  const rest = `${parameters.add(put.columns.rest)}::bytea`;
  const files = put.files
    ? versionAt(thread, `${parameters.add(put.files.checkpointId)}::text`, {
        withChanges: `${parameters.add(put.files.withChanges)}::boolean`,
      })
    : "null::bytea";
  const { rows } = await db.query<{ landed: boolean; channels: string[] | null }>({
    ...named(nameOf(put), [put.values, items, needs, ...beside.map((each) => each.rows)]),
    text: `
      with ${parameters.fence},
      ${needs.length > 0 ? `${basesHeld(parameters, { thread, ns, needs })},` : ""}
      allowed as materialized (
        select ${put.lazy ? LAZY : ""} from fence ${needs.length > 0 ? `where (select count(*) from held) = ${needs.length}` : ""}),
      ${items.length > 0 ? `${itemsStored(parameters, thread, items)},` : ""}
      ${beside.map((each) => `${besideStored(parameters, each)},`).join("")}
      fresh as (${put.values.length > 0 ? valuesStored(parameters, { thread, ns, values: put.values }) : "select null as channel where false"}),
      stored as (
        insert into checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata, rest, files)
        select ${thread}, ${ns}, ${id}, ${parent}, ${checkpoint}, ${metadata}, ${rest}, ${files} from allowed
            on conflict (thread_id, checkpoint_ns, checkpoint_id)
            do update set checkpoint = excluded.checkpoint, metadata = excluded.metadata, rest = excluded.rest)
      select exists (select from allowed) as landed, (select array_agg(channel) from fresh) as channels from fence`,
    values: parameters.values,
  });
  if (!rows[0]) throw lost(put.owner);
  return rows[0].landed ? new Set(rows[0].channels) : undefined;
}

const LAZY = "set_config('synchronous_commit', 'off', true)";

function nameOf({ owner, beside = [], files, lazy }: PutCheckpoint): string {
  const parts = [owner && "fenced", lazy && "lazy", ...beside.map(({ name }) => name), !files && "inner"];
  return ["put-checkpoint", ...parts.filter(Boolean)].join("-");
}

/**
 * Held until commit, so that nobody removes what this statement builds on: a row that was removed is not there. After the
 * fence, in the order in which everybody locks.
 */
function basesHeld(parameters: Parameters, at: { thread: string; ns: string; needs: string[][] }): string {
  return `held as materialized (
        select from fence cross join checkpoint_blobs b
          join ${parameters.list(["text", "text"], at.needs)} as n(channel, version)
            on n.channel = b.channel and n.version = b.version
         where b.thread_id = ${at.thread} and b.checkpoint_ns = ${at.ns}
           for key share of b)`;
}

function valuesStored(
  parameters: Parameters,
  { thread, ns, values }: { thread: string; ns: string; values: readonly VersionRow[] },
): string {
  const types = ["text", "text", "text", "bytea", "uuid[]", "text", "int", "int"];
  const rows = values.map(({ channel, version, type, blob, items, needs, delta }) => {
    const value = [channel, version, type, blob, items ?? null];
    return delta ? [...value, needs, delta.head, delta.tail] : [...value, null, null, null];
  });
  return `
        insert into checkpoint_blobs
               (thread_id, checkpoint_ns, channel, version, type, blob, items, base_version, head, tail)
        select ${thread}, ${ns}, v.*
          from allowed cross join ${parameters.list(types, rows)} as v
            on conflict do nothing
        returning channel`;
}

function itemsStored(parameters: Parameters, thread: string, items: readonly Item[]): string {
  const rows = items.map(({ hash, item }) => [hash, item]);
  return `items_stored as (
        insert into checkpoint_items (thread_id, hash, item)
        select ${thread}, v.* from allowed cross join ${parameters.list(["uuid", "bytea"], rows)} as v
            on conflict do nothing)`;
}

function besideStored(parameters: Parameters, { name, into, types, rows }: Beside): string {
  return `${name} as (
        insert into ${into}
        select v.* from allowed cross join ${parameters.list(types, rows)} as v
            on conflict do nothing)`;
}

export interface PutWrites {
  readonly owner: Owner | null;
  /** Thread, namespace, checkpoint id, task id. */
  readonly row: readonly [string, string, string, string];
  /** The run on whose behalf they are, so that its rollback finds them on checkpoints of earlier runs. */
  readonly runId: string | null;
  readonly writes: readonly WriteRow[];
  readonly items: readonly Item[];
  /** Whether the writes take the place of earlier ones with the same index, or stand back. */
  readonly replace: boolean;
  /**
   * Whether to leave it to the next commit that the writes are on disk. For the results of tasks: the checkpoint of
   * their step follows, and a crash of Postgres before it costs that step. Never for questions and answers.
   */
  readonly lazy: boolean;
}

export interface WriteRow {
  readonly idx: number;
  readonly channel: string;
  readonly type: string;
  readonly blob: Uint8Array;
  readonly items?: readonly string[];
}

/** Throws `lease_lost` when the owner has changed, and nothing was written. */
export async function putWrites(db: Queryable, put: PutWrites): Promise<void> {
  const writes = eachIndexOnce(put);
  if (writes.length === 0) return;
  const items = await putSurplus(db, put);
  const parameters = new Parameters(put.owner);
  const [thread = "", ...row] = [...put.row, put.runId].map((value) => `${parameters.add(value)}::text`);
  const rows = writes.map(columnsOf);
  const onConflict = put.replace
    ? `on conflict (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
            do update set channel = excluded.channel, type = excluded.type, blob = excluded.blob,
                          items = excluded.items, run_id = excluded.run_id`
    : "on conflict do nothing";
  const kind = [put.owner ? "fenced" : "plain", put.replace ? "replace" : "keep", put.lazy ? "lazy" : "sync"];
  const { rowCount } = await db.query({
    ...named(`put-writes-${kind.join("-")}`, [writes, items]),
    text: `
      with ${parameters.fence},
      allowed as materialized (select ${put.lazy ? LAZY : "1"} from fence),
      ${items.length > 0 ? `${itemsStored(parameters, thread, items)},` : ""}
      stored as (
        insert into ${WRITES}
        select ${thread}, ${row.join(", ")}, v.* from allowed cross join ${parameters.list(WRITE_TYPES, rows)} as v
            ${onConflict})
      select from fence`,
    values: parameters.values,
  });
  if (rowCount !== 1) throw lost(put.owner);
}

/** The same as rows beside a checkpoint, for writes that stand back. Their items go with the checkpoint's. */
export function writesBeside(puts: readonly PutWrites[]): Beside {
  return {
    name: "writes",
    into: WRITES,
    types: ["text", "text", "text", "text", "text", ...WRITE_TYPES],
    rows: puts.flatMap((put) => eachIndexOnce(put).map((write) => [...put.row, put.runId, ...columnsOf(write)])),
  };
}

const WRITES =
  "checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, run_id, idx, channel, type, blob, items)";
const WRITE_TYPES = ["int", "text", "text", "bytea", "uuid[]"];

function columnsOf({ idx, channel, type, blob, items }: WriteRow): unknown[] {
  return [idx, channel, type, blob, items ?? null];
}

/** One statement may touch a row only once: of those with one index the last counts, or the first, as in the stock saver. */
function eachIndexOnce({ writes, replace }: PutWrites): WriteRow[] {
  const ordered = replace ? writes : writes.toReversed();
  return [...new Map(ordered.map((write) => [write.idx, write])).values()];
}

/** A statement has 65,535 parameters at most. */
const MAX_ITEMS = 2_000;

/** Writes what is too much for one statement in statements before it, and returns the rest. */
async function putSurplus(
  db: Queryable,
  put: { owner: Owner | null; row: readonly [string, ...unknown[]]; items: readonly Item[] },
): Promise<readonly Item[]> {
  let rest = put.items;
  for (; rest.length > MAX_ITEMS; rest = rest.slice(MAX_ITEMS)) {
    const parameters = new Parameters(put.owner);
    const thread = `${parameters.add(put.row[0])}::text`;
    const { rowCount } = await db.query({
      text: `
        with ${parameters.fence},
        allowed as materialized (select from fence),
        ${itemsStored(parameters, thread, rest.slice(0, MAX_ITEMS))}
        select from fence`,
      values: parameters.values,
    });
    if (rowCount !== 1) throw lost(put.owner);
  }
  return rest;
}

function lost(owner: Owner | null): Error {
  return owner ? leaseLost(owner) : new Error("A write that is not fenced was refused");
}

/** The parameters of a statement whose first two belong to the fence. */
class Parameters {
  readonly values: unknown[];
  /** The first CTE: one row if writing is allowed. */
  readonly fence: string;

  constructor(owner: Owner | null) {
    this.values = owner ? [owner.thread_id, owner.epoch] : [];
    this.fence = owner ? fence : "fence as materialized (select 1)";
  }

  add(value: unknown): string {
    this.values.push(value);
    return `$${this.values.length}`;
  }

  /** A `values` list with a type for each column. */
  list(types: readonly string[], rows: readonly (readonly unknown[])[]): string {
    const row = (cells: readonly unknown[]): string =>
      types.map((type, i) => `${this.add(cells[i])}::${type}`).join(", ");
    return `(values ${rows.map((cells) => `(${row(cells)})`).join(", ")})`;
  }
}

/** Statements are kept per connection, so only those of a usual shape get a name. */
const MAX_NAMED = 8;

function named(name: string, parts: readonly (readonly unknown[])[]): { name?: string } {
  return parts.every(({ length }) => length <= MAX_NAMED)
    ? { name: [name, ...parts.map(({ length }) => length)].join("-") }
    : {};
}
