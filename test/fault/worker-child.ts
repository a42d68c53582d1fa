/** A worker process for tests to kill: its options are the JSON of its first argument; it says `joined` when it is one. */
import { openSignals } from "../../db/signals.ts";
import { createPool } from "../../db/pool.ts";
import { createLog } from "../../lib/log.ts";
import { Hub } from "../../runs/events/hub.ts";
import type { AnyGraph, Graphs } from "../../runs/index.ts";
import { RunWorker } from "../../runs/worker.ts";
import { blocking, gated } from "./graphs.ts";
import type { ChildOptions } from "./spawn-worker.ts";

const { connection, leaseSeconds, notes, gate, blockMs } = JSON.parse(process.argv[2] ?? "") as ChildOptions;
const log = createLog("info");
const graph = (graph_id: string, compiled: AnyGraph) =>
  [graph_id, { graph_id, hash: "test", resolve: async () => compiled }] as const;
const graphs: Graphs = new Map([graph("gated", gated(notes, gate)), graph("blocking", blocking(notes, blockMs))]);
await RunWorker.start({
  pool: createPool({ ...connection, max: 4, name: "child", log }),
  connection,
  hub: new Hub(),
  signals: await openSignals(connection, log),
  graphs,
  concurrency: 4,
  leaseSeconds,
  log,
});
process.send?.("joined");
