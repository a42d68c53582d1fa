/** A database that was rewound under us: to a point in time, or by a fail-over. With the real thing. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FencedSaver } from "../../checkpoints/fenced-saver.ts";
import { openDatabaseHistory } from "../../db/database-history.ts";
import { createPool } from "../../db/pool.ts";
import { uuidv7 } from "../../lib/ids.ts";
import { RunLedger } from "../../runs/effects/ledger.ts";
import { acceptRestoredDatabase } from "../../runs/restored.ts";
import { archivingCluster, type Cluster } from "../support/cluster.ts";
import { silent } from "../support/database.ts";
import { spawnServer, spawnWorker, urlOf } from "../support/server.ts";
import { fileExists } from "./graphs.ts";

/** Milliseconds for five starts of a process, one after the other, on a machine with other work. */
const LONG = 120_000;

const graphs = { gated: "test/support/graphs/gated.ts:graph" };

test("after a recovery from epoch 7 to 5 and two claims an old write would land; the check refuses it, and --restored lifts what was given out", async () => {
  await using cluster = await archivingCluster();
  await using stack = new AsyncDisposableStack();
  const plain = createPool({ ...cluster.connection, max: 2, name: "test", log: silent });
  stack.defer(() => plain.end());
  const history = await openDatabaseHistory(plain, silent);
  const guarded = createPool({ ...cluster.connection, max: 2, name: "test", log: silent, gate: history });
  stack.defer(() => guarded.end());
  const threadId = uuidv7();
  const runId = uuidv7();
  await plain.query("insert into threads (thread_id) values ($1)", [threadId]);
  await plain.query("insert into thread_owner (thread_id, epoch) values ($1, 5)", [threadId]);
  await plain.query(
    `insert into runs (run_id, thread_id, assistant_id, graph_id, kwargs, status, ready, worker_id, epoch)
     values ($1, $2, $1, 'graph', '{}', 'running', true, $1, 5)`,
    [runId, threadId],
  );
  await plain.query(
    `insert into effects (thread_id, key, run_id, epoch, name) values ($1, 'sent', $2, 5, 'send_email')`,
    [threadId, runId],
  );
  await plain.query(
    `insert into effects (thread_id, key, run_id, epoch, name, state, attempt, dispatched_at)
     values ($1, 'reserved', $2, 5, 'send_email', 'reserved', 0, null)`,
    [threadId, runId],
  );
  await plain.query(
    `insert into effects (thread_id, key, run_id, epoch, name, state, dispatched_at, deadline, settled_at)
     values ($1, 'asked', $2, 5, 'send_email', 'unknown', now() - interval '1 hour', now() - interval '59 minutes', now())`,
    [threadId, runId],
  );
  const deleted = uuidv7();
  await plain.query("insert into gone_threads (thread_id, epoch) values ($1, 5)", [deleted]);
  const backup = await cluster.backUp();
  await cluster.mark("epoch five");
  const claim = () => plain.query("update thread_owner set epoch = epoch + 1 where thread_id = $1", [threadId]);
  await claim();
  await claim(); // this process works under epoch 7
  const owner = { thread_id: threadId, epoch: "7" };
  await guarded.query("select");
  await cluster.restoreTo(backup, "epoch five");

  await claim(); // two others, after the restore
  await claim();
  const at = { configurable: { thread_id: threadId, checkpoint_ns: "", checkpoint_id: "c" } };
  const write = (pool: typeof plain, task: string) => new FencedSaver(pool, owner).putWrites(at, [["log", task]], task);
  await write(plain, "unguarded");
  expect(await writtenBy(plain, threadId)).toEqual(["unguarded"]);
  await expect(write(guarded, "guarded")).rejects.toMatchObject({ code: "database_changed" });
  await expect(guarded.query("select")).rejects.toMatchObject({ code: "database_changed" });
  await expect(openDatabaseHistory(plain, silent)).rejects.toMatchObject({
    code: "database_changed",
    message: expect.stringMatching(/timeline 1.*timeline 2.*pawl migrate --restored/s),
  });

  await expect(acceptRestoredDatabase(plain)).resolves.toEqual({ threads: 1, requeued: 1, unknown: 2 });
  await expect(write(plain, "late")).rejects.toMatchObject({ code: "lease_lost" });
  expect(await writtenBy(plain, threadId)).toEqual(["unguarded"]);
  const states = async () => (await plain.query("select key, epoch, state from effects order by key")).rows;
  const unknown = ["asked", "reserved", "sent"].map((key) => ({ key, epoch: "5", state: "unknown" }));
  expect(await states()).toEqual(unknown);
  expect((await plain.query("select status, worker_id from runs")).rows).toEqual([
    { status: "pending", worker_id: null },
  ]);
  expect((await plain.query("select epoch from thread_owner")).rows).toEqual([{ epoch: String(7 + 2 ** 20) }]);
  await plain.query("insert into threads (thread_id) values ($1)", [deleted]); // again
  const made = await plain.query("insert into thread_owner (thread_id) values ($1) returning epoch", [deleted]);
  expect(made.rows).toEqual([{ epoch: String(6 + 2 ** 20) }]);
  await openDatabaseHistory(plain, silent);
  await claim();
  const next = { thread_id: threadId, epoch: String(8 + 2 ** 20) };
  const run = { run_id: runId, tenant: "default" };
  const { signal } = new AbortController();
  const ledger = new RunLedger({ encryption: undefined, db: plain, owner: next, run, signal, durability: "sync" });
  const again = ledger.perform({ key: "sent", taskId: "task", name: "send_email", kind: "irreversible" }, () =>
    Promise.reject(new Error("sent a second time")),
  );
  await expect(again).rejects.toMatchObject({ code: "effect_unknown" });
  // The run was asked for before the restore: the lost interval may have done what it says.
  await ledger.answer({ key: "asked", taskId: "task", attempt: 1, ordinal: 0 }, { decision: "not_happened" });
  expect(await states()).toEqual(unknown);
});

async function writtenBy(pool: ReturnType<typeof createPool>, threadId: string): Promise<unknown[]> {
  const { rows } = await pool.query("select task_id from checkpoint_writes where thread_id = $1", [threadId]);
  return rows.map(({ task_id }: { task_id: string }) => task_id);
}

test(
  "a process under which the database is restored ends and says why, none starts until that was accepted, and then the run goes on",
  { timeout: LONG },
  async () => {
    await using cluster = await archivingCluster();
    const thread = await rewound(cluster, async () => {
      const backup = await cluster.backUp();
      await cluster.mark("here");
      return () => cluster.restoreTo(backup, "here");
    });
    expect(thread).toEqual({ log: ["first", "second"] });
  },
);

test("after a fail-over to a standby that was promoted it is the same", { timeout: LONG }, async () => {
  await using cluster = await archivingCluster();
  const thread = await rewound(cluster, async () => {
    const backup = await cluster.backUp();
    return () => cluster.failOver(backup);
  });
  expect(thread).toEqual({ log: ["first", "second"] });
});

/** A run is half-way, then the database is rewound. Returns what the thread holds when the run has ended after all. */
async function rewound(cluster: Cluster, prepare: () => Promise<() => Promise<void>>): Promise<unknown> {
  const folder = await mkdtemp(join(tmpdir(), "pawl-restore-"));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(folder, { recursive: true }));
  const env = { TEST_GATE: join(folder, "gate") };
  const { connection } = cluster;
  await using server = await spawnServer({ graphs, connection, env, args: ["--no-workers"] });
  await using worker = await spawnWorker({ graphs, connection, env });
  const { thread_id } = await server.client.threads.create();
  const { run_id } = await server.client.runs.create(thread_id, "gated", { input: {} });
  await fileExists(`${env.TEST_GATE}.notes`);
  const rewind = await prepare();
  expect(await migrateRestored(connection)).toMatchObject({
    code: 1,
    said: expect.stringMatching(/Stop every process/),
  });
  const ended = [server, worker].map((each) => once(each.process, "exit"));
  await rewind();
  for (const [code] of await Promise.all(ended)) expect(code).toBe(1);
  for (const each of [server, worker]) await each.written(/pawl: The database was restored or failed over.*--restored/);

  const refused = await spawnServer({ graphs, connection, env }).catch((error: Error) => error.message);
  expect(refused).toMatch(/pawl: The database was restored or failed over.*--restored/);
  expect(await migrateRestored(connection)).toMatchObject({
    code: 0,
    said: expect.stringMatching(/1 runs back in the queue/),
  });
  await writeFile(env.TEST_GATE, "");
  await using next = await spawnServer({ graphs, connection, env });
  await next.client.runs.join(thread_id, run_id);
  expect(existsSync(env.TEST_GATE)).toBe(true);
  return (await next.client.threads.get(thread_id)).values;
}

async function migrateRestored(connection: Cluster["connection"]): Promise<{ code: unknown; said: string }> {
  const child = spawn(process.execPath, ["server/cli.ts", "migrate", "--restored"], {
    env: { PATH: process.env["PATH"], DATABASE_URL: urlOf(connection) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (said += String(chunk)));
  const [code] = await once(child, "close");
  return { code, said };
}
