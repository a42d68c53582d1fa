/** A thread that is deleted and made again under its id: to who is still at work on the old one it is another. */
import { expect, test } from "vitest";
import { FencedSaver } from "../../checkpoints/fenced-saver.ts";
import { transaction } from "../../db/pool.ts";
import { type ThreadId, uuidv7 } from "../../lib/ids.ts";
import { localPrincipal } from "../../lib/principal.ts";
import { claimRuns } from "../../runs/claim.ts";
import { Hub } from "../../runs/events/hub.ts";
import { EventWriter } from "../../runs/events/writer.ts";
import { expire } from "../../runs/retention.ts";
import { deleteThread } from "../../runs/threads/delete.ts";
import { createThread, insertThread } from "../../runs/threads/create.ts";
import { oneNode, type RunsHost, runsHost } from "../support/runs.ts";

const never = new AbortController().signal;
const graph = oneNode(async () => ({ log: ["done"] }));

const remove = (host: RunsHost, threadId: ThreadId) =>
  transaction(host.db.pool, (tx) => deleteThread(tx, localPrincipal, threadId));

/** The events of a run that is over, from the log. */
async function told(host: RunsHost, runId: Awaited<ReturnType<RunsHost["create"]>>["run_id"]): Promise<unknown[]> {
  const events = await (await host.elsewhere()).events(localPrincipal, { runId }, { after: "-1", signal: never });
  const all: unknown[] = [];
  for await (const { event, data } of events) all.push([event, data]);
  return all;
}

test.each(["by its first run", "by itself"])(
  "the run on a thread that was made again, %s, is told whole and in one attempt",
  async (how) => {
    await using host = await runsHost({ graph });
    await host.startWorker();
    const threadId = await host.thread();
    const first = await host.create(threadId);
    await host.runs.join(localPrincipal, { runId: first.run_id }, never);
    await remove(host, threadId);
    if (how === "by itself") {
      const { graphs } = host;
      await createThread({ pool: host.db.pool, graphs }, localPrincipal, {
        thread_id: threadId,
        metadata: { graph_id: "graph" },
        supersteps: [{ updates: [{ values: { log: ["before"] }, as_node: "work" }] }],
      });
    }
    const second = await host.create(threadId, { if_not_exists: "create", stream_mode: ["updates"] });
    expect(await host.runs.join(localPrincipal, { runId: second.run_id }, never)).toMatchObject({
      status: "success",
      values: { log: how === "by itself" ? ["before", "done"] : ["done"] },
    });
    expect(await told(host, second.run_id)).toEqual([
      ["metadata", { run_id: second.run_id, attempt: 1 }],
      ["updates", { work: { log: ["done"] } }],
    ]);
  },
);

test("a thread that is made again while the old one is being deleted begins above it, too", async () => {
  await using host = await runsHost({ graph });
  const { pool } = host.db;
  const threadId = await host.thread();
  await pool.query("update thread_owner set epoch = 5");
  const isWaiting = async () => (await pool.query("select from pg_locks where not granted")).rowCount === 1;
  const again = await transaction(pool, async (tx) => {
    await deleteThread(tx, localPrincipal, threadId);
    const inserted = insertThread(pool, localPrincipal, { threadId, metadata: {}, ttl: undefined });
    await expect.poll(isWaiting, { timeout: 10_000 }).toBe(true);
    return { inserted };
  });
  expect(await again.inserted).toMatchObject({ epoch: "6" });
});

test("who still executes a run of a thread that was deleted writes nothing on the one that was made again, days later either", async () => {
  await using host = await runsHost({ graph });
  const { pool } = host.db;
  const threadId = await host.thread();
  const claim = () =>
    claimRuns(pool, { workerId: uuidv7(), graphs: [...host.graphs.values()], limit: 1 }).then(([run]) => run!);
  await host.create(threadId);
  const zombie = await claim();
  await remove(host, threadId);
  await pool.query("update thread_events set created_at = created_at - interval '20 hours'");
  await expire(pool, 120);
  await host.create(threadId, { if_not_exists: "create" });
  await claim();

  const saver = new FencedSaver(pool, zombie);
  const config = { configurable: { thread_id: threadId, checkpoint_ns: "", checkpoint_id: uuidv7() } };
  await expect(saver.putWrites(config, [["log", ["late"]]], uuidv7())).rejects.toMatchObject({ code: "lease_lost" });
  const failed = Promise.withResolvers<Error>();
  const signals = { send() {}, on: () => () => {}, close: async () => {} };
  const onFailure = failed.resolve;
  const writer = new EventWriter({
    pool,
    encryption: undefined,
    hub: new Hub(),
    signals,
    owner: zombie,
    run: zombie,
    onFailure,
  });
  await writer.push("values", { late: true });
  await writer.flush();
  expect(await failed.promise).toMatchObject({ code: "lease_lost" });
});

test("of threads that come and go with a stateless run nothing is kept", async () => {
  await using host = await runsHost({ graph });
  await host.startWorker();
  const { run_id } = await host.runs.create(localPrincipal, { assistant_id: "graph", input: {} }, {});
  await host.runs.join(localPrincipal, { runId: run_id }, never);
  const { rows } = await host.db.pool.query(
    "select thread_id from gone_threads union select thread_id from thread_owner",
  );
  expect(rows).toEqual([]);
});
