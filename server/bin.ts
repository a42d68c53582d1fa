#!/usr/bin/env node
/** The command `pawl`. Where Pawl cannot work it says why, before cli.ts imports what may not even link there. */
import { refuseUnfittingInstall } from "./peer-check.ts";

try {
  refuseUnfittingInstall();
} catch (error) {
  process.stderr.write(`pawl: ${(error as Error).message}\n`);
  process.exit(1);
}
await import("./cli.ts");
