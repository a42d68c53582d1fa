/** The schema as the composition root makes it: the stock tables of the checkpointer first, then our migrations. */
import { PostgresSaver } from "@langchain/langgraph-checkpoint-postgres";
import { migrate } from "../../db/migrate.ts";
import { type ConnectTo, createPool } from "../../db/pool.ts";
import { createLog } from "../../lib/log.ts";

/** The migrated database that each test copies. */
export const TEMPLATE = "pawl_template";

export async function prepareSchema(connection: ConnectTo): Promise<void> {
  const pool = createPool({ ...connection, max: 1, name: "saver-setup", log: createLog("warn") });
  try {
    await migrate(connection, { mode: "apply", before: () => new PostgresSaver(pool).setup() });
  } finally {
    await pool.end();
  }
}
