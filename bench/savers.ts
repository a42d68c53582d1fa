/** The savers that are measured, on one embedded Postgres with fsync: each on a database of its own. */
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BaseCheckpointSaver, MemorySaver } from "@langchain/langgraph";
import { PostgresSaver } from "@langchain/langgraph-checkpoint-postgres";
import pg from "pg";
import { FencedSaver } from "../checkpoints/fenced-saver.ts";
import { startEmbedded } from "../db/embedded/launch.ts";
import type { Log } from "../lib/log.ts";
import { applySchema } from "../server/open-database.ts";

const SAVERS = ["memory", "stock", "pawl"] as const;
export type SaverName = (typeof SAVERS)[number];

export interface MeasuredSaver {
  readonly name: SaverName;
  /** A fresh thread, with the saver as a run of it has it. */
  thread(): Promise<Thread>;
  /** What the database has been told so far; zeros for memory. */
  cost(): Promise<Cost>;
  /** Absent for memory. */
  readonly pool?: pg.Pool;
}

export interface Thread {
  readonly thread_id: string;
  readonly saver: BaseCheckpointSaver;
}

export interface Cost {
  readonly statements: number;
  /** Sent by this process. */
  readonly bytes: number;
  readonly wal: number;
}

interface MeasuredSavers extends AsyncDisposable {
  readonly all: readonly MeasuredSaver[];
}

const CONNECTIONS = 10;

export async function openSavers(log: Log): Promise<MeasuredSavers> {
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "pawl-bench-"));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const postgres = await startEmbedded({ dataDir: folder, log });
  cleanup.defer(() => postgres.stop());
  await applySchema(postgres.connection, log);
  const pawl = countingPool(postgres.connection);
  cleanup.defer(() => pawl.end());
  await pawl.query("create database stock");
  const stock = countingPool({ ...postgres.connection, database: "stock" });
  cleanup.defer(() => stock.end());
  await new PostgresSaver(stock).setup();

  const memory = new MemorySaver();
  const stockSaver = new PostgresSaver(stock);
  const owned = cleanup.move();
  return {
    all: [
      {
        name: "memory",
        thread: async () => ({ thread_id: randomUUID(), saver: memory }),
        cost: async () => ({ statements: 0, bytes: 0, wal: 0 }),
      },
      {
        name: "stock",
        pool: stock,
        cost: () => stock.cost(),
        thread: async () => ({ thread_id: randomUUID(), saver: stockSaver }),
      },
      { name: "pawl", pool: pawl, cost: () => pawl.cost(), thread: () => ownedThread(pawl) },
    ],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Fenced, as a run's writes are. */
async function ownedThread(pool: pg.Pool): Promise<Thread> {
  const thread_id = randomUUID();
  await pool.query("insert into threads (thread_id) values ($1)", [thread_id]);
  await pool.query("insert into thread_owner (thread_id, epoch) values ($1, 1)", [thread_id]);
  return { thread_id, saver: new FencedSaver(pool, { thread_id, epoch: "1" }) };
}

class CountingPool extends pg.Pool {
  #statements = 0;
  readonly #clients = new Set<pg.PoolClient>();

  constructor(options: pg.PoolConfig) {
    super(options);
    this.on("connect", (client) => {
      const query = client.query.bind(client) as (...args: unknown[]) => unknown;
      client.query = ((...args: unknown[]) => {
        this.#statements += 1;
        return query(...args);
      }) as typeof client.query;
      this.#clients.add(client);
    });
  }

  async cost(): Promise<Cost> {
    const statements = this.#statements;
    const streams = [...this.#clients].map(
      (client) => (client as unknown as { connection: { stream: { bytesWritten: number } } }).connection.stream,
    );
    const bytes = streams.reduce((sum, stream) => sum + stream.bytesWritten, 0);
    const { rows } = await this.query<{ wal: string }>("select pg_current_wal_insert_lsn() - '0/0' as wal");
    this.#statements -= 1;
    return { statements, bytes, wal: Number(rows[0]?.wal) };
  }
}

function countingPool(connection: object): CountingPool {
  const pool = new CountingPool({ ...connection, max: CONNECTIONS, pipeline: true });
  pool.on("error", () => {});
  return pool;
}
