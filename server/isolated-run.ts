/**
 * The process of one run that is suspected of ending its process: a worker that adopts this run and nothing else.
 * Started by `isolateRuns` (isolate.ts), which it tells its name as a worker before it executes anything.
 */
import { encryptWith } from "../checkpoints/encryption.ts";
import { connectToHistory } from "../db/database-history.ts";
import { createPool } from "../db/pool.ts";
import { openSignals } from "../db/signals.ts";
import { config } from "../lib/config.ts";
import { asError } from "../lib/errors.ts";
import { createLog } from "../lib/log.ts";
import { Hub } from "../runs/events/hub.ts";
import { RunWorker } from "../runs/worker.ts";
import { closeExecutors } from "../tools/sandbox/select.ts";
import type { IsolatedOrder, IsolatedReport } from "./isolate.ts";
import { loadGraphs } from "./load-graphs.ts";
import { endWhenStuck } from "./watchdog.ts";

/** Milliseconds for the run to get to its next step, once its parent says that it is to stop. */
const GRACE_MS = 15_000;

const order = await new Promise<IsolatedOrder>((resolve) => process.once("message", resolve));
const { connection, run, source } = order;
endWhenStuck();
const log = createLog(config().logLevel);
// As in end-orderly.ts: a promise that a graph forgets is no death.
process.on("unhandledRejection", (error) => log.error({ error: asError(error) }, "unhandled rejection"));
const idleTransactionMs = config().leaseSeconds * 1_000;
const history = await connectToHistory(connection, log);
const pool = createPool({ ...connection, max: 4, name: "pawl isolated", log, idleTransactionMs, gate: history });
encryptWith(pool, config().encryptionKeys);
const watch = history.watch(pool, log);
history.onChanged((error) => {
  log.error({ error }, error.message);
  process.exit(1);
});
const signals = await openSignals(connection, log);
const worker = await RunWorker.start({
  pool,
  connection,
  hub: new Hub(),
  signals,
  graphs: await loadGraphs([source]),
  concurrency: 1,
  leaseSeconds: config().leaseSeconds,
  log,
  only: run,
});
// The parent may be gone: without a callback its absence would be an error that nobody handles, and end this process,
// which would count as a death of the run.
process.send?.({ workerId: worker.id } satisfies IsolatedReport, undefined, undefined, () => {});

const drain = (): void => void worker.close(GRACE_MS);
process.on("SIGTERM", drain);
process.on("SIGINT", drain);
const cut = (): void => void worker.close(0); // the parent is gone, or waits no longer
process.on("disconnect", cut);
if (!process.connected) cut(); // it went while this process started

await worker.idle();
await worker.close(0);
watch.stop();
await closeExecutors();
await signals.close();
await pool.end();
process.exit(0); // a node may have left timers and sockets behind
