/** Removes the folders of threads that were deleted while their files lay on this process's disk, too. */
import type { Queryable } from "../db/pool.ts";
import { asError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { idleWorkspaces, removeWorkspace } from "../tools/sandbox/workspace.ts";

const PERIOD_MS = 3_600_000;
/** The folder may be that of a thread in another database, whose server then gets its files from there again. */
const IDLE_MS = 24 * 3_600_000;

interface WorkspaceSweepOptions {
  readonly pool: Queryable;
  readonly dataDir: string;
  readonly log: Log;
}

export function startWorkspaceSweep({ pool, dataDir, log }: WorkspaceSweepOptions): { close(): Promise<void> } {
  const sweep = (): Promise<void> =>
    sweepWorkspaces(pool, dataDir, new Date(Date.now() - IDLE_MS)).catch((thrown: unknown) =>
      log.warn({ error: asError(thrown) }, "folders of deleted threads not removed, trying again later"),
    );
  let running = sweep();
  const timer = setInterval(() => {
    running = running.then(sweep);
  }, PERIOD_MS);
  return {
    close() {
      clearInterval(timer);
      return running;
    },
  };
}

/** Removes the folders that belong to no thread and in which nothing was done since `before`. */
export async function sweepWorkspaces(db: Queryable, dataDir: string, before: Date): Promise<void> {
  const idle = await idleWorkspaces(dataDir, before);
  if (idle.length === 0) return;
  const { rows } = await db.query<{ thread_id: string }>({
    name: "threads-without-row",
    text: `
      select found.thread_id from unnest($1::uuid[]) found(thread_id)
       where not exists (select from threads t where t.thread_id = found.thread_id)`,
    values: [idle],
  });
  for (const { thread_id } of rows) await removeWorkspace(dataDir, thread_id);
}
