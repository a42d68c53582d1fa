/** The commands that do one thing to a database, say what came of it, and end. */
import { createPool } from "../db/pool.ts";
import { config } from "../lib/config.ts";
import { PawlError } from "../lib/errors.ts";
import { createLog } from "../lib/log.ts";
import { acceptRestoredDatabase } from "../runs/restored.ts";
import type { Arguments } from "./arguments.ts";
import { checkParkedThreads } from "./check-parked.ts";
import { loadGraphs } from "./load-graphs.ts";
import { applySchema, labelOf, openDatabase } from "./open-database.ts";
import type { Project } from "./project.ts";
import { exportTo, importFrom } from "./transfer.ts";

const say = (text: string): void => void process.stdout.write(text);

/** Of a database that others use; the embedded one is brought up to date by each start. */
function givenDatabase(): string {
  const { databaseUrl } = config();
  if (databaseUrl === undefined) throw new PawlError("bad_configuration", "migrate needs DATABASE_URL");
  return databaseUrl;
}

/** `pawl migrate`. */
export async function updateSchema(): Promise<void> {
  const databaseUrl = givenDatabase();
  await applySchema({ connectionString: databaseUrl }, createLog(config().logLevel));
  say(`${labelOf(databaseUrl)} is up to date\n`);
}

/** `pawl migrate --restored`. For the embedded database too: its files may have been copied back. */
export async function acceptRestored(): Promise<void> {
  const log = createLog(config().logLevel);
  const { databaseUrl } = config();
  if (databaseUrl !== undefined) await applySchema({ connectionString: databaseUrl }, log);
  const database = await openDatabase(config(), log);
  const pool = createPool({ ...database.connection, max: 1, name: "pawl restored", log });
  try {
    const { threads, requeued, unknown } = await acceptRestoredDatabase(pool);
    say(
      `${database.label} is accepted as restored: ${threads} threads fenced off, ${requeued} runs back in the queue, ` +
        `${unknown} effects of unknown outcome\n`,
    );
  } finally {
    await pool.end();
    await database.stop();
  }
}

/** `pawl migrate --check`. The process ends with 1 if there is a thread that could not go on. */
export async function checkThreads({ graphs: sources }: Project): Promise<void> {
  const databaseUrl = givenDatabase();
  const log = createLog(config().logLevel);
  const graphs = await loadGraphs(sources);
  const count = await checkParkedThreads({
    connection: { connectionString: databaseUrl },
    encryptionKeys: config().encryptionKeys,
    graphs,
    log,
    say,
  });
  say(`${labelOf(databaseUrl)}: ${count === 0 ? "every thread can" : `${count} cannot`} go on with these graphs\n`);
  process.exitCode = count === 0 ? 0 : 1;
}

/** `pawl export` and `pawl import`, from and to the standard streams. */
export async function transferThread(
  command: "export" | "import",
  { threadId, options }: Pick<Arguments, "threadId" | "options">,
): Promise<void> {
  // Lines of the log would stand among those of the thread.
  const transferred = { config: config(), log: createLog("silent"), isStock: options.stock };
  if (command === "export") return exportTo(process.stdout, threadId, transferred);
  const into = { threadId: options.thread, graphId: options.graph };
  const { thread_id, checkpoints } = await importFrom(process.stdin, { ...transferred, ...into });
  say(`${thread_id}: ${checkpoints} checkpoints\n`);
}
