/**
 * Where threads stand: a root checkpoint each, and the newest one of each subgraph that works below it. Two statements,
 * however many threads are asked about. The rows are named by their place (`ctid`), which holds for the statement: by
 * anything else Postgres looks for them in the whole thread where it takes that for short.
 */
import type { CheckpointTuple } from "@langchain/langgraph-checkpoint";
import type { Queryable } from "../db/pool.ts";
import { byId } from "./by-id.ts";
import type { ThreadCheckpoint } from "./read-waiting.ts";
import type { Saver } from "./saver.ts";

export interface Standing {
  readonly root: CheckpointTuple;
  /** By namespace. */
  readonly below: ReadonlyMap<string, CheckpointTuple>;
}

/** By thread; those without such a checkpoint are left out. */
export async function readStandings(
  saver: Saver,
  at: readonly ThreadCheckpoint[],
  db?: Queryable,
): Promise<Map<string, Standing>> {
  const roots = await saver.load(
    {
      name: "standing-roots",
      where: `ctid = any(array(
        select root.place
          from unnest($1::text[], $2::text[]) as at(thread_id, checkpoint_id)
         cross join lateral (
               (select c.ctid as place from checkpoints c
                 where c.thread_id = at.thread_id and c.checkpoint_ns = '' and ${byId("c", "at.checkpoint_id")})
                union all
               (select c.ctid from checkpoints c
                 where c.thread_id = at.thread_id and c.checkpoint_ns = '' and at.checkpoint_id is null
                 order by c.seq desc
                 limit 1)) root))`,
      values: [at.map(({ thread_id }) => thread_id), at.map(({ checkpoint_id }) => checkpoint_id ?? null)],
    },
    db,
  );
  const below = await saver.load(
    {
      name: "standing-below",
      where: `ctid = any(array(
        select newest.place
          from unnest($1::text[], $2::text[]) as root(thread_id, checkpoint_id)
         cross join lateral (
               select distinct on (c.checkpoint_ns) c.ctid as place from checkpoints c
                where c.thread_id = root.thread_id and c.checkpoint_ns > ''
                  and c.metadata -> 'parents' ->> '' = root.checkpoint_id
                order by c.checkpoint_ns, c.seq desc) newest))`,
      values: [roots.map((tuple) => place(tuple).thread_id), roots.map((tuple) => place(tuple).checkpoint_id)],
    },
    db,
  );
  const byThread = Map.groupBy(below, (tuple) => place(tuple).thread_id);
  return new Map(
    roots.map((root) => {
      const { thread_id } = place(root);
      const inside = (byThread.get(thread_id) ?? []).map((tuple) => [place(tuple).checkpoint_ns, tuple] as const);
      return [thread_id, { root, below: new Map(inside) }];
    }),
  );
}

function place({ config }: CheckpointTuple): { thread_id: string; checkpoint_ns: string; checkpoint_id: string } {
  const { thread_id, checkpoint_ns, checkpoint_id } = config.configurable ?? {};
  return { thread_id: String(thread_id), checkpoint_ns: String(checkpoint_ns), checkpoint_id: String(checkpoint_id) };
}
