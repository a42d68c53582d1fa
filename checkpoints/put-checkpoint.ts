/** Writes a checkpoint with its values, and what lands with it, in one statement. */
import type { Pool, QueryConfig } from "pg";
import type { Owner } from "../db/fence.ts";
import { LAZY, sizeOf, writeGrouped } from "../db/group-commit.ts";
import type { Queryable } from "../db/pool.ts";
import { standsFor } from "../db/retry.ts";
import { versionAt } from "./files.ts";
import { itemsStored, putSurplus } from "./put-items.ts";
import type { CheckpointColumns } from "./short-rows.ts";
import { lost, Parameters } from "./statement.ts";
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
  const items = await putSurplus(db, put);
  const { rows } = await db.query<Landed>(statementOf({ ...put, items }));
  if (!rows[0]) throw lost(put.owner);
  return landed(rows[0]);
}

/**
 * The same, together with those of other threads (see `writeGrouped`); for a pool whose statements may be repeated,
 * `repeatable` says how.
 */
export function putGrouped(pool: Pool, put: PutCheckpoint): Promise<Set<string> | undefined> {
  return writeGrouped(standsFor(pool), {
    threadId: put.row[0],
    size: sizeOf([
      ...put.values.map(({ blob }) => blob),
      ...put.items.map(({ item }) => item),
      ...(put.beside ?? []).flatMap(({ rows }) => rows.flat()),
    ]),
    lazy: put.lazy ?? false,
    inGroup: async (db, { lazy }) => {
      const { rows } = await db.query<Landed>(statementOf({ ...put, lazy }, { atOnce: true }));
      return rows[0] && landed(rows[0]);
    },
    alone: () => putCheckpoint(pool, put),
  });
}

interface Landed {
  readonly landed: boolean;
  readonly channels: string[] | null;
}

function landed({ landed: hasLanded, channels }: Landed): Set<string> | undefined {
  return hasLanded ? new Set(channels) : undefined;
}

function statementOf(put: PutCheckpoint, { atOnce = false } = {}): QueryConfig {
  const { items, beside = [] } = put;
  const needs = put.values.flatMap(({ channel, needs: version }) =>
    version === undefined ? [] : [[channel, version]],
  );
  const parameters = new Parameters(put.owner, { atOnce });
  const [thread = "", ns = "", id, parent] = put.row.map((value) => `${parameters.add(value)}::text`);
  const checkpoint = `${parameters.add(JSON.stringify(put.columns.checkpoint))}::jsonb`;
  const metadata = `${parameters.add(JSON.stringify(put.columns.metadata))}::jsonb`;
  const rest = `${parameters.add(put.columns.rest)}::bytea`;
  const files = put.files
    ? versionAt(thread, `${parameters.add(put.files.checkpointId)}::text`, {
        withChanges: `${parameters.add(put.files.withChanges)}::boolean`,
      })
    : "null::bytea";
  return {
    name: nameOf(put, { atOnce, needs }),
    text: `
      with ${parameters.fence},
      ${needs.length > 0 ? `${basesHeld(parameters, { thread, ns, needs, atOnce })},` : ""}
      allowed as materialized (
        select ${put.lazy ? LAZY : ""} from fence ${needs.length > 0 ? `where (select count(*) from held) = ${parameters.add(needs.length)}` : ""}),
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
  };
}

function nameOf(
  { owner, values, items, beside = [], files, lazy }: PutCheckpoint,
  { atOnce, needs }: { atOnce: boolean; needs: readonly unknown[] },
): string {
  const parts = [
    owner && "fenced",
    atOnce && "at-once",
    lazy && "lazy",
    values.length > 0 && "values",
    items.length > 0 && "items",
    needs.length > 0 && "deltas",
    ...beside.map(({ name }) => name),
    !files && "inner",
  ];
  return ["put-checkpoint", ...parts.filter(Boolean)].join("-");
}

/**
 * Held until commit, so that nobody removes what this statement builds on: a row that was removed is not there. After the
 * fence, in the order in which everybody locks.
 */
function basesHeld(
  parameters: Parameters,
  at: { thread: string; ns: string; needs: string[][]; atOnce: boolean },
): string {
  return `held as materialized (
        select from fence
         cross join ${parameters.list(["text", "text"], at.needs)} as n(channel, version)
         cross join lateral (select from checkpoint_blobs b
                              where b.thread_id = ${at.thread} and b.checkpoint_ns = ${at.ns}
                                and b.channel = n.channel and b.version = n.version
                              limit 1
                                for key share ${at.atOnce ? "skip locked" : ""}) b)`;
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

function besideStored(parameters: Parameters, { name, into, types, rows }: Beside): string {
  return `${name} as (
        insert into ${into}
        select v.* from allowed cross join ${parameters.list(types, rows)} as v
            on conflict do nothing)`;
}
