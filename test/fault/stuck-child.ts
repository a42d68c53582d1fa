/** A process whose main loop turns a few times and then never again. */
import { setTimeout as delay } from "node:timers/promises";
import { endWhenStuck } from "../../server/watchdog.ts";

endWhenStuck(1_000);
await delay(2_000);
process.stdout.write("turning\n");
for (;;);
