/** How a process that serves or executes runs ends: in order, within a deadline. */
import { asError, type PawlError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";

/** How long running graphs have to get to their next step, and the whole process to end. */
const GRACE_MS = 15_000;
const DEADLINE_MS = 25_000;

/** What a command leaves running. */
export interface Running {
  onDatabaseChanged(handler: (error: PawlError) => void): void;
  close(graceMs: number): Promise<void>;
}

/** `letGo`: what comes last. The returned function begins the end; false if it has begun already. */
export function endOrderly(
  running: Running,
  { log, letGo }: { readonly log: Log; readonly letGo: () => Promise<void> },
): (why: string) => boolean {
  let isEnding = false;
  // Graphs are others' code, and up to as many runs as this process executes would pay for one forgotten promise.
  process.on("unhandledRejection", (error) => log.error({ error: asError(error) }, "unhandled rejection"));
  // At once: what runs do from here on cannot be written down.
  running.onDatabaseChanged((error) => {
    log.error({ error }, "the database was rewound");
    process.stderr.write(`pawl: ${error.message}\n`);
    process.exit(1);
  });
  return (why) => {
    if (isEnding) return false;
    isEnding = true;
    log.info({ signal: why }, "stopping");
    setTimeout(() => {
      log.error({}, "not stopped in time");
      process.exit(1);
    }, DEADLINE_MS).unref();
    running
      .close(GRACE_MS)
      .then(letGo)
      .then(
        () => process.exit(0),
        (error: unknown) => {
          log.error({ error }, "stopping failed");
          process.exit(1);
        },
      );
    return true;
  };
}
