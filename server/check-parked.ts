/** `pawl migrate --check`: what a deployment of this build would find. Changes nothing. */
import { encryptWith } from "../checkpoints/encryption.ts";
import { migrate } from "../db/migrate.ts";
import { type ConnectTo, createPool } from "../db/pool.ts";
import type { Config } from "../lib/config.ts";
import type { Log } from "../lib/log.ts";
import type { Graphs } from "../runs/index.ts";
import { findSkewedThreads } from "../runs/skew/parked-threads.ts";
import { describeReason } from "../runs/skew/reason.ts";

interface CheckOptions {
  readonly connection: ConnectTo;
  /** Of `PAWL_ENCRYPTION_KEYS`. */
  readonly encryptionKeys: Config["encryptionKeys"];
  readonly graphs: Graphs;
  readonly log: Log;
  /** Gets a line for each thread. */
  readonly say: (line: string) => void;
}

/** How many threads this build could not continue. Throws `bad_configuration` when the schema does not fit. */
export async function checkParkedThreads({
  connection,
  encryptionKeys,
  graphs,
  log,
  say,
}: CheckOptions): Promise<number> {
  await migrate(connection, { mode: "check" });
  const pool = createPool({ ...connection, max: 1, name: "pawl check", log });
  encryptWith(pool, encryptionKeys);
  let count = 0;
  try {
    for await (const { thread_id, graph_id, reasons } of findSkewedThreads(pool, graphs)) {
      count += 1;
      say(`${thread_id} ${graph_id}: ${reasons.map(describeReason).join("; ")}\n`);
    }
  } finally {
    await pool.end();
  }
  return count;
}
