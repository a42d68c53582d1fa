/** JSON lines by pino. A logger is an argument: `log.child({ run_id })`. No prompts, tool arguments or secrets at info level. */
import { type Logger, pino } from "pino";

export type Log = Pick<Logger, "debug" | "info" | "warn" | "error"> & { child(bindings: Record<string, unknown>): Log };

export function createLog(level: string): Log {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime, errorKey: "error" });
}
