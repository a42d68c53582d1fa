import { expect, test } from "vitest";
import { uuidv7 } from "../../lib/ids.ts";
import { claimRuns } from "../../runs/claim.ts";
import { finishRun, undoCheckpoints } from "../../runs/finish.ts";
import { oneNode, runsHost } from "../support/runs.ts";

test("what a stopped graph stores behind the deletion of its checkpoints is gone when its run is rolled back", async () => {
  await using host = await runsHost({ graph: oneNode(async () => ({ log: [] })) });
  const { pool } = host.db;
  const threadId = await host.thread();
  await host.create(threadId);
  const [run] = await claimRuns(pool, { workerId: uuidv7(), graphs: [{ graph_id: "graph", hash: "test" }], limit: 1 });
  await undoCheckpoints(pool, run!);
  await pool.query(
    "insert into checkpoints (thread_id, checkpoint_id, checkpoint, metadata) values ($1, 'late', '{}', jsonb_build_object('run_id', $2::text))",
    [threadId, run!.run_id],
  );
  const log = { seq: String(BigInt(run!.epoch) << 32n), events: "[]" };
  await finishRun(pool, run!, { status: "interrupted", isRolledBack: true, isAnswered: false, log });
  expect((await pool.query("select from checkpoints")).rowCount).toBe(0);
});
