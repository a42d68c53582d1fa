/**
 * Which channels hold null, where the process that carries their versions on does not know it (known-versions.ts): the
 * checkpoint that had them first says it, and may be any of the thread.
 */
import type { Queryable } from "../db/pool.ts";
import type { GraphPlace } from "./known-versions.ts";
import { versionsOf } from "./short-rows.ts";

/** Of these versions of triggers, by channel, those of which a short row says that they are null. Reads all short rows of the graph. */
export async function readNulls(
  db: Queryable,
  { thread_id, checkpoint_ns }: GraphPlace,
  versions: ReadonlyMap<string, string>,
): Promise<ReadonlyMap<string, string>> {
  const { rows } = await db.query<{ channel: string; version: string }>({
    name: "null-versions",
    text: `
      select distinct asked.channel, asked.version
        from checkpoints c
       cross join jsonb_each(${versionsOf("c.checkpoint")}) said
        join unnest($3::text[], $4::text[]) as asked(channel, version)
          on asked.channel = said.key and jsonb_typeof(said.value) = 'array' and said.value ->> 0 = asked.version
       where c.thread_id = $1 and c.checkpoint_ns = $2 and c.rest is not null`,
    values: [thread_id, checkpoint_ns, [...versions.keys()], [...versions.values()]],
  });
  return new Map(rows.map(({ channel, version }) => [channel, version]));
}
