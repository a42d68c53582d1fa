/** The process that a suspect has for itself, and those around it. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { uuidv7 } from "../../lib/ids.ts";
import { claimRuns } from "../../runs/claim.ts";
import type { IsolatedOrder } from "../../server/isolate.ts";
import { effectGraph } from "../support/graphs/effect.ts";
import { runsHost } from "../support/runs.ts";

test(
  "a parent that dies while the process of a suspect starts is no death of the run",
  { timeout: 60_000 },
  async () => {
    await using host = await runsHost({ effect: effectGraph() });
    const { pool, connection } = host.db;
    await host.create(await host.thread(), { context: { name: "irreversible" } });
    const parent = uuidv7();
    const [run] = await claimRuns(pool, { workerId: parent, graphs: [{ graph_id: "effect", hash: "test" }], limit: 1 });
    const child = fork(resolve("server/isolated-run.ts"), { stdio: "ignore" });
    const source = { graphId: "effect", file: resolve("test/support/graphs/effect.ts"), exportName: "graph" };
    const order: IsolatedOrder = {
      connection,
      run: { run_id: run!.run_id, worker_id: parent, epoch: run!.epoch },
      source,
    };
    child.send(order, () => child.disconnect());
    expect(await once(child, "exit")).toEqual([0, null]);
    const { rows } = await pool.query("select status, worker_id, stalled_attempts from runs");
    expect(rows).toEqual([{ status: "pending", worker_id: null, stalled_attempts: 0 }]);
    expect((await pool.query("select from workers")).rowCount).toBe(0);
  },
);
