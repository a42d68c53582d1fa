/** All threads that wait or are under way, and why the loaded graphs could not go on with them. Reads only. */
import type pg from "pg";
import { Saver } from "../../checkpoints/saver.ts";
import type { Graphs } from "../index.ts";
import { buildFrom, findSkew, type ParkedThread } from "./find.ts";
import type { SkewReason } from "./reason.ts";

interface SkewedThread {
  readonly thread_id: string;
  readonly tenant: string;
  readonly graph_id: string;
  readonly reasons: readonly SkewReason[];
}

interface Row extends ParkedThread {
  readonly tenant: string;
}

const PAGE = 100;

/** Of all tenants, in the order of their ids. Each page costs three statements; a thread is read once. */
export async function* findSkewedThreads(pool: pg.Pool, graphs: Graphs): AsyncGenerator<SkewedThread> {
  const context = { saver: new Saver(pool), db: pool, buildOf: buildFrom(graphs) };
  for (let page = await readPage(pool, undefined); page.length > 0; page = await readPage(pool, page.at(-1))) {
    const found = await findSkew(context, page);
    for (const { thread_id, tenant, graph_id } of page) {
      const reasons = found.get(thread_id);
      if (reasons) yield { thread_id, tenant, graph_id, reasons };
    }
  }
}

async function readPage(pool: pg.Pool, last: Row | undefined): Promise<Row[]> {
  const { rows } = await pool.query<Row>({
    name: "parked-threads",
    text: `
      select thread_id, tenant, graph_id, coalesce(config -> 'configurable', '{}') as configurable
        from threads
       where status <> 'idle' and graph_id is not null and ($1::uuid is null or thread_id > $1)
       order by thread_id
       limit $2`,
    values: [last?.thread_id ?? null, PAGE],
  });
  return rows;
}
