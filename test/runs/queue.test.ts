import { expect, test } from "vitest";
import { transaction } from "../../db/pool.ts";
import { isPawlError } from "../../lib/errors.ts";
import { ThreadId, uuidv7 } from "../../lib/ids.ts";
import { localPrincipal } from "../../lib/principal.ts";
import { claimRuns } from "../../runs/claim.ts";
import { finishRun } from "../../runs/finish.ts";
import { requeueRun } from "../../runs/requeue.ts";
import { promoteDueRuns } from "../../runs/sweep.ts";
import { oneNode, type RunsHost, runsHost } from "../support/runs.ts";

const graph = oneNode(async () => ({ log: ["done"] }));

function claim(host: RunsHost, limit = 10, workerId = uuidv7()) {
  return claimRuns(host.db.pool, { workerId, graphs: [...host.graphs.values()], limit });
}

const success = { status: "success", isRolledBack: false, isAnswered: false } as const;
const endOf = (epoch: string): string => String((BigInt(epoch) << 32n) + 1n);

test("while the head of a thread is locked by another transaction nothing of that thread is claimed", async () => {
  await using host = await runsHost({ graph });
  const threadId = await host.thread();
  const first = await host.create(threadId);
  await host.create(threadId, { input: { log: ["second"] } });
  await transaction(host.db.pool, async (tx) => {
    await tx.query("select from runs where run_id = $1 for update", [first.run_id]);
    expect(await claim(host)).toEqual([]);
  });
  expect((await claim(host)).map((run) => run.run_id)).toEqual([first.run_id]);
});

test("two pending runs of one thread in one batch are executed one after the other, in order", async () => {
  await using host = await runsHost({ graph });
  const threadId = await host.thread();
  const created = [await host.create(threadId), await host.create(threadId), await host.create(threadId)];
  const order: string[] = [];
  for (let claimed = await claim(host); claimed.length > 0; claimed = await claim(host)) {
    expect(claimed).toHaveLength(1);
    for (const run of claimed) {
      order.push(run.run_id);
      await finishRun(host.db.pool, run, { ...success, log: { seq: endOf(run.epoch), events: "[]" } });
    }
  }
  expect(order).toEqual(created.map((run) => run.run_id));
});

test("concurrent claims never give one thread two live runs", async () => {
  await using host = await runsHost({ graph });
  const threads = await Promise.all([host.thread(), host.thread(), host.thread()]);
  for (const threadId of threads) for (let i = 0; i < 4; i++) await host.create(threadId);
  for (let round = 0; round < 4; round++) {
    const claimed = (await Promise.all(Array.from({ length: 6 }, () => claim(host, 2)))).flat();
    expect(new Set(claimed.map((run) => run.thread_id))).toEqual(new Set(threads));
    expect(claimed).toHaveLength(threads.length);
    await Promise.all(
      claimed.map((run) => finishRun(host.db.pool, run, { ...success, log: { seq: endOf(run.epoch), events: "[]" } })),
    );
  }
  expect(await claim(host)).toEqual([]);
});

test("a delayed run does not hold up a later one, and is claimed when it is due", async () => {
  await using host = await runsHost({ graph });
  const threadId = await host.thread();
  const delayed = await host.create(threadId, { after_seconds: 3600 });
  const later = await host.create(threadId);
  const [claimed] = await claim(host);
  expect(claimed?.run_id).toBe(later.run_id);
  await finishRun(host.db.pool, claimed!, { ...success, log: { seq: endOf(claimed!.epoch), events: "[]" } });
  expect(await promoteDueRuns(host.db.pool)).toBe(false);
  expect((await host.threadRow(threadId))["status"]).toBe("busy");

  await host.db.pool.query("update runs set run_after = now() where run_id = $1", [delayed.run_id]);
  expect(await promoteDueRuns(host.db.pool)).toBe(true);
  expect((await claim(host)).map((run) => run.run_id)).toEqual([delayed.run_id]);
});

test("reject refuses a busy thread and leaves nothing behind", async () => {
  await using host = await runsHost({ graph });
  const threadId = await host.thread();
  await host.create(threadId);
  await expect(host.create(threadId, { multitask_strategy: "reject" })).rejects.toSatisfy((e) =>
    isPawlError(e, "thread_busy"),
  );
  expect(await host.runs.list(localPrincipal, threadId, { limit: 10, offset: 0 })).toHaveLength(1);
});

test("of many simultaneous creates with reject exactly one wins", async () => {
  await using host = await runsHost({ graph });
  const threadId = await host.thread();
  const results = await Promise.allSettled(
    Array.from({ length: 8 }, (_, i) =>
      host.create(threadId, { multitask_strategy: "reject", input: { log: [`${i}`] } }),
    ),
  );
  expect(results.filter((result) => result.status === "fulfilled")).toHaveLength(1);
});

test("interrupt ends what is pending and rollback deletes it", async () => {
  await using host = await runsHost({ graph });
  const threadId = await host.thread();
  const first = await host.create(threadId);
  const second = await host.create(threadId, { multitask_strategy: "interrupt" });
  expect((await host.runs.get(localPrincipal, { runId: first.run_id })).status).toBe("interrupted");
  const third = await host.create(threadId, { multitask_strategy: "rollback" });
  await expect(host.runs.get(localPrincipal, { runId: second.run_id })).rejects.toSatisfy((e) =>
    isPawlError(e, "run_not_found"),
  );
  expect((await claim(host)).map((run) => run.run_id)).toEqual([third.run_id]);
});

test("cancelling the only pending run leaves the thread as it was before", async () => {
  await using host = await runsHost({ graph });
  const threadId = await host.thread();
  const run = await host.create(threadId);
  await host.runs.cancel(
    localPrincipal,
    { threadId, runId: run.run_id },
    { action: "interrupt", wait: AbortSignal.timeout(20_000) },
  );
  expect((await host.threadRow(threadId))["status"]).toBe("idle");
  await host.runs.cancel(
    localPrincipal,
    { threadId, runId: run.run_id },
    { action: "interrupt", wait: AbortSignal.timeout(20_000) },
  );
  expect((await host.runs.get(localPrincipal, { runId: run.run_id })).status).toBe("interrupted");
});

test("a thread counts as new for the first claim of the run that it came with, and never again", async () => {
  await using host = await runsHost({ graph });
  const threadId = ThreadId.parse(uuidv7());
  await host.create(threadId, { if_not_exists: "create" });
  await host.create(threadId);
  const workerId = uuidv7();
  const [first] = await claim(host, 1, workerId);
  expect(first).toMatchObject({ thread_id: threadId, has_new_thread: true });
  await requeueRun(host.db.pool, { ...first!, worker_id: workerId });
  const [again] = await claim(host);
  expect(again).toMatchObject({ run_id: first!.run_id, has_new_thread: false });
  await finishRun(host.db.pool, again!, { ...success, log: { seq: endOf(again!.epoch), events: "[]" } });
  expect(await claim(host)).toMatchObject([{ thread_id: threadId, has_new_thread: false }]);
  await host.create(await host.thread());
  expect(await claim(host)).toMatchObject([{ has_new_thread: false }]); // made before, by somebody who may have written to it
});
