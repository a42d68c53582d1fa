/**
 * Which channels hold null, where the process that carries their versions on does not know it (known-versions.ts). The
 * checkpoint before says it of all that it has; of what that one does not have, the one that had it first, which may be
 * any of the thread: an import may have left out the one between.
 */
import type { Queryable } from "../db/pool.ts";
import { byId } from "./by-id.ts";
import type { GraphPlace } from "./known-versions.ts";
import { versionsOf } from "./short-rows.ts";

interface NullsPlace extends GraphPlace {
  /** The checkpoint before; null for the first. */
  readonly parent: string | null;
}

/** Of these versions of triggers, by channel, those of which a short row says that they are null. */
export async function readNulls(
  db: Queryable,
  at: NullsPlace,
  versions: ReadonlyMap<string, string>,
): Promise<ReadonlyMap<string, string>> {
  const before = await readSaid(db, at, { versions, ofParent: true });
  const others = new Map([...versions].filter(([channel]) => !before.has(channel)));
  const elsewhere = others.size > 0 ? await readSaid(db, at, { versions: others, ofParent: false }) : [];
  const said = [...before, ...elsewhere];
  return new Map(said.flatMap(([channel, { version, isNull }]) => (isNull ? [[channel, version] as const] : [])));
}

/** Of those versions that the checkpoint before has, or any short row of the graph, whether it says that they are null. */
async function readSaid(
  db: Queryable,
  { thread_id, checkpoint_ns, parent }: NullsPlace,
  { versions, ofParent }: { readonly versions: ReadonlyMap<string, string>; readonly ofParent: boolean },
): Promise<ReadonlyMap<string, { readonly version: string; readonly isNull: boolean }>> {
  const { rows } = await db.query<{ channel: string; version: string; is_null: boolean }>({
    name: ofParent ? "null-versions-before" : "null-versions",
    text: `
      select distinct asked.channel, asked.version, jsonb_typeof(said.value) = 'array' as is_null
        from (select * from checkpoints c
               where c.thread_id = $1 and c.checkpoint_ns = $2 and ${ofParent ? byId("c", "$5") : "c.rest is not null"}) c
       cross join jsonb_each(${versionsOf("c.checkpoint")}) said
        join unnest($3::text[], $4::text[]) as asked(channel, version)
          on asked.channel = said.key and asked.version = coalesce(said.value ->> 0, said.value #>> '{}')`,
    values: [thread_id, checkpoint_ns, [...versions.keys()], [...versions.values()], ...(ofParent ? [parent] : [])],
  });
  return new Map(rows.map(({ channel, version, is_null }) => [channel, { version, isNull: is_null }]));
}
