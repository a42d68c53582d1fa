/** A process that owns an embedded Postgres, for tests that kill it. Says where to connect, stops when told to. */
import { once } from "node:events";
import { installedPackage } from "../../db/embedded/binaries.ts";
import { startEmbedded } from "../../db/embedded/launch.ts";
import { createLog } from "../../lib/log.ts";

const [dataDir = "", packageRoot = installedPackage()] = process.argv.slice(2);
const postgres = await startEmbedded({ dataDir, packageRoot, log: createLog("silent") });
process.stdout.write(`${JSON.stringify({ uid: process.getuid?.(), connection: postgres.connection })}\n`);
await once(process.stdin, "data");
process.stdin.destroy();
await postgres.stop();
