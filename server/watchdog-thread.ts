/** Counts its own ticks, not time: a process or a machine that was stopped does not look stuck when it goes on. */
import { writeSync } from "node:fs";
import { workerData } from "node:worker_threads";
import { TICK_MS, type WatchdogData } from "./watchdog.ts";

const { turns, stuckMs } = workerData as WatchdogData;
let seen = 0;
let silentTicks = 0;

setInterval(() => {
  const now = Atomics.load(turns, 0);
  const isTurning = now !== seen || Atomics.load(turns, 1) === 1;
  seen = now;
  silentTicks = isTurning ? 0 : silentTicks + 1;
  if (silentTicks * TICK_MS < stuckMs) return;
  // The streams of a thread go through the main loop.
  writeSync(2, `pawl: the main loop was blocked for ${stuckMs / 1_000} s, and this process ends\n`);
  process.kill(process.pid, "SIGKILL");
}, TICK_MS);
