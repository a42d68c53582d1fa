/** Workers that stop in order, and what becomes of what they execute. */
import { StateGraph } from "@langchain/langgraph";
import { expect, test } from "vitest";
import { localPrincipal } from "../../lib/principal.ts";
import { Log, runsHost } from "../support/runs.ts";

const never = new AbortController().signal;

/** Two steps; the first says that it was entered and waits for its gate. */
function twoSteps() {
  const entered = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const graph = new StateGraph(Log)
    .addNode("first", async () => {
      entered.resolve();
      await gate.promise;
      return { log: ["first"] };
    })
    .addNode("second", () => ({ log: ["second"] }))
    .addEdge("__start__", "first")
    .addEdge("first", "second")
    .compile();
  return { graph, entered: entered.promise, open: gate.resolve };
}

test("a run goes back to the queue at its next step, while others of the same worker still get to theirs", async () => {
  const quick = twoSteps();
  const slow = twoSteps();
  await using host = await runsHost({ quick: quick.graph, slow: slow.graph });
  const worker = await host.startWorker();
  const first = await host.create(await host.thread());
  await host.create(await host.thread(), { assistant_id: "slow" });
  await Promise.all([quick.entered, slow.entered]);
  const closed = worker.close(60_000);
  quick.open();
  const status = "select status, worker_id from runs where run_id = $1";
  await expect
    .poll(async () => (await host.db.pool.query(status, [first.run_id])).rows)
    .toEqual([{ status: "pending", worker_id: null }]);
  slow.open();
  await closed;
  await host.startWorker();
  const outcome = await host.runs.join(localPrincipal, { runId: first.run_id }, never);
  expect(outcome).toMatchObject({ status: "success", values: { log: ["first", "second"] } });
});

test("a cancel that comes while its worker stops is a cancel, wherever the run is by then", async () => {
  const { graph, entered, open } = twoSteps();
  await using host = await runsHost({ graph });
  const worker = await host.startWorker();
  const threadId = await host.thread();
  const run = await host.create(threadId);
  await entered;
  const closed = worker.close(60_000);
  await host.runs.cancel(localPrincipal, { runId: run.run_id }, { action: "interrupt" });
  open();
  await closed;
  await host.startWorker();
  const outcome = await host.runs.join(localPrincipal, { runId: run.run_id }, never);
  expect(outcome).toMatchObject({ status: "interrupted", values: { log: ["first"] } });
  expect((await host.threadRow(threadId))["status"]).not.toBe("busy");
});

test("a run that was given to a worker, which has not heard of it, is given back when that one stops, and none of its deaths", async () => {
  await using host = await runsHost({ graph: twoSteps().graph });
  const { pool } = host.db;
  await host.create(await host.thread(), { after_seconds: 3_600 }); // nobody claims it on the way
  const worker = await host.startWorker();
  await worker.idle();
  await pool.query("update thread_owner set epoch = 1, worker_id = $1", [worker.id]);
  await pool.query(
    "update runs set status = 'running', ready = true, worker_id = $1, epoch = 1, alone_epoch = 1, claimed_seq = 0",
    [worker.id],
  );
  await worker.close(0);
  const { rows } = await pool.query("select status, worker_id, suspect, stalled_attempts from runs");
  expect(rows).toEqual([{ status: "pending", worker_id: null, suspect: false, stalled_attempts: 0 }]);
});
