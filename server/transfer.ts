/** `pawl export` and `pawl import`: a thread to standard output, and from standard input. */
import { once } from "node:events";
import { createInterface } from "node:readline";
import { PostgresSaver } from "@langchain/langgraph-checkpoint-postgres";
import type pg from "pg";
import { encryptionOf, encryptWith } from "../checkpoints/encryption.ts";
import { registerKeys } from "../checkpoints/encryption-keys.ts";
import { createPool } from "../db/pool.ts";
import type { Config } from "../lib/config.ts";
import { PawlError } from "../lib/errors.ts";
import { ThreadId } from "../lib/ids.ts";
import type { Log } from "../lib/log.ts";
import { localPrincipal } from "../lib/principal.ts";
import {
  exportStockThread,
  exportThread,
  type Imported,
  importStockThread,
  importThread,
} from "../runs/threads/transfer.ts";
import { openDatabase } from "./open-database.ts";
import { parse } from "./parse.ts";

interface TransferOptions {
  readonly config: Config;
  readonly log: Log;
  /** The tables are those of LangGraph's own saver, in a database of DATABASE_URL that Pawl does not run on. */
  readonly isStock: boolean;
}

/** Throws `thread_not_found`, `bad_configuration`. */
export async function exportTo(
  output: NodeJS.WritableStream,
  threadId: string,
  options: TransferOptions,
): Promise<void> {
  const write = async (line: string): Promise<void> => {
    if (!output.write(line)) await once(output, "drain");
  };
  await withPool(options, (pool) =>
    options.isStock
      ? exportStockThread(pool, { threadId, write })
      : exportThread(pool, localPrincipal, { threadId: parse(ThreadId, threadId), write }),
  );
}

interface ImportOptions extends TransferOptions {
  readonly threadId?: string | undefined;
  readonly graphId?: string | undefined;
}

/** Throws `already_exists`, `invalid_input`, `bad_configuration`. */
export async function importFrom(input: NodeJS.ReadableStream, options: ImportOptions): Promise<Imported> {
  const { threadId, graphId, isStock } = options;
  // Only once somebody reads them: lines that come before that are lost.
  const lines = (): AsyncIterable<string> => createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
  return withPool(options, async (pool) => {
    if (!isStock) return importThread(pool, localPrincipal, { lines: lines(), threadId, graphId });
    await new PostgresSaver(pool).setup();
    return importStockThread(pool, { lines: lines(), threadId });
  });
}

async function withPool<T>({ config, log, isStock }: TransferOptions, work: (pool: pg.Pool) => Promise<T>): Promise<T> {
  if (isStock && config.databaseUrl === undefined) {
    throw new PawlError("bad_configuration", "--stock needs DATABASE_URL");
  }
  const database = isStock ? undefined : await openDatabase(config, log);
  const connection = database?.connection ?? { connectionString: config.databaseUrl ?? "" };
  const pool = createPool({ ...connection, max: 1, name: "pawl transfer", log });
  try {
    if (!isStock) {
      encryptWith(pool, config.encryptionKeys);
      await registerKeys(pool, encryptionOf(pool));
    }
    return await work(pool);
  } finally {
    await pool.end();
    await database?.stop();
  }
}
