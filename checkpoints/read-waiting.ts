/** Reads what tasks wait for: their interrupts and the answers they have, without the channel values of any checkpoint. */
import type { SerializerProtocol } from "@langchain/langgraph-checkpoint";
import type { Queryable } from "../db/pool.ts";
import { byId } from "./by-id.ts";
import type { Encryption } from "./encryption.ts";
import { fold, type Tasks } from "./open-questions.ts";
import { openRow, type WritePlace, writePlace } from "./sealed-rows.ts";

interface WaitingRow extends Omit<WritePlace, "items"> {
  /** Only of interrupts and answers; of other writes it is enough that they exist. */
  readonly blob: Buffer | null;
}

export interface ThreadCheckpoint {
  readonly thread_id: string;
  /** Absent for the newest. */
  readonly checkpoint_id?: string | undefined;
}

/** Who waits for what at a root checkpoint, by namespace. */
export async function waitingTasks(
  db: Queryable,
  at: ThreadCheckpoint,
  { encryption, serde }: { encryption: Encryption | undefined; serde: SerializerProtocol },
): Promise<Map<string, Tasks>> {
  const tasks = new Map<string, Tasks>();
  for (const { blob, ...row } of await readWaiting(db, at)) {
    const inNs: Tasks = tasks.get(row.checkpoint_ns) ?? new Map();
    tasks.set(row.checkpoint_ns, inNs);
    const opened = blob && openRow(encryption, { ...row, blob }, writePlace);
    fold(inNs, row.task_id, [[row.channel, opened && (await serde.loadsTyped(opened.type, opened.blob))]]);
  }
  return tasks;
}

/**
 * The pending writes of a root checkpoint that has interrupts, and of the newest checkpoint of each subgraph below it.
 * Outer namespaces first.
 */
export async function readWaiting(
  db: Queryable,
  { thread_id, checkpoint_id }: ThreadCheckpoint,
): Promise<WaitingRow[]> {
  const { rows } = await db.query<WaitingRow>({
    name: checkpoint_id ? "read-waiting-at" : "read-waiting",
    text: `
      with root as materialized (
        select checkpoint_id
          from checkpoints c
         where thread_id = $1 and checkpoint_ns = '' ${checkpoint_id ? `and ${byId("c", "$2")}` : "order by seq desc limit 1"}),
      asks as materialized (
        select checkpoint_id from root
         where exists (select from checkpoint_writes w
                        where w.thread_id = $1 and w.checkpoint_ns = '' and w.checkpoint_id = root.checkpoint_id
                          and w.channel = '__interrupt__')),
      below as (
        select distinct on (c.checkpoint_ns) c.checkpoint_ns, c.checkpoint_id
          from asks
          join checkpoints c on c.thread_id = $1 and c.checkpoint_ns > ''
                            and c.metadata -> 'parents' ->> '' = asks.checkpoint_id
         order by c.checkpoint_ns, c.seq desc)
      select w.thread_id, w.checkpoint_ns, w.checkpoint_id, w.task_id, w.idx, w.channel, w.type,
             case when w.channel in ('__interrupt__', '__resume__') then w.blob end as blob
        from (select '' as checkpoint_ns, checkpoint_id from asks union all select * from below) at
        join checkpoint_writes w on w.thread_id = $1 and w.checkpoint_ns = at.checkpoint_ns
                                and w.checkpoint_id = at.checkpoint_id
       order by length(w.checkpoint_ns), w.task_id, w.idx`,
    values: [thread_id, ...(checkpoint_id ? [checkpoint_id] : [])],
  });
  return rows;
}
