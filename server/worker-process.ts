/** The process that `keepWorkerApart` (worker-apart.ts) keeps: a worker that ends when its parent says so, or is gone. */
import { config } from "../lib/config.ts";
import { createLog } from "../lib/log.ts";
import { endOrderly } from "./end-orderly.ts";
import { endWhenStuck } from "./watchdog.ts";
import { work } from "./work.ts";
import { READY, STOP, type WorkerOrder } from "./worker-apart.ts";

const stopped = Promise.withResolvers<void>();
const order = await new Promise<WorkerOrder>((resolve) => {
  process.on("message", (message) => (message === STOP ? stopped.resolve() : resolve(message as WorkerOrder)));
});
endWhenStuck();
const log = createLog(config().logLevel);
const begin = endOrderly(await work({ ...order, log }), { log, letGo: async () => {} });
void stopped.promise.then(() => begin(STOP));
// A terminal, or a supervisor that ends a group, sends to parent and child what the parent will say too.
process.on("SIGTERM", begin);
process.on("SIGINT", () => {});
const orphaned = (): void => {
  if (!begin("the parent is gone")) process.exit(1); // it waits no longer
};
process.on("disconnect", orphaned);
if (!process.connected) orphaned();
process.send?.(READY, undefined, undefined, () => {});
