/** What no server can beat: the same graphs in this process, with the same saver on the same database, and nothing else. */
import { randomUUID } from "node:crypto";
import { Saver } from "../checkpoints/saver.ts";
import { type ConnectTo, createPool } from "../db/pool.ts";
import type { Log } from "../lib/log.ts";
import { input } from "./client.ts";
import { ten, two } from "./graphs.ts";

export interface Floor extends AsyncDisposable {
  /** Executes a run of a graph on a fresh thread, to its end. */
  run(graphId: keyof typeof graphs): Promise<void>;
}

const graphs = { two, ten };

/** `connections` is what the server's worker has, so that neither waits longer for one than the other. */
export function openFloor(connection: ConnectTo, { connections, log }: { connections: number; log: Log }): Floor {
  const pool = createPool({ ...connection, max: connections, name: "bench floor", log });
  const saver = new Saver(pool);
  return {
    async run(graphId) {
      await graphs[graphId].invoke(input, {
        configurable: { thread_id: randomUUID(), __pregel_checkpointer: saver },
        durability: "sync",
      });
    },
    [Symbol.asyncDispose]: () => pool.end(),
  };
}
