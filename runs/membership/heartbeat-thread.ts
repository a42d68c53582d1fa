/**
 * Keeps one worker alive in the eyes of the others, on a thread and connections of its own, so that a node which blocks
 * the main loop costs no lease. Two signs of life: a session advisory lock, which shows a dead process within
 * milliseconds, and a lease in the worker's row, for hosts that hang or drop off the network.
 *
 * Workers watch each other in a ring: each waits for the lock of the next one, so n workers need n waiting connections.
 */
import { setTimeout as delay } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import pg from "pg";
import { KEEP_ALIVE } from "../../db/pool.ts";
import { asError } from "../../lib/errors.ts";
import { ALIVE_MS, type FromHeartbeat, type HeartbeatOptions, LOCK_BASE, type ToHeartbeat } from "./messages.ts";

const options = workerData as HeartbeatOptions;
const main = parentPort;
if (!main) throw new Error("This module runs in a worker thread");

const tell = (message: FromHeartbeat): void => main.postMessage(message);
const leaving = new AbortController();
let heardOfMain = Date.now();
let onRecovered: (() => void) | undefined;

/** Longest delay of the main loop since the last heartbeat. */
let lagMs = 0;

main.on("message", (message: ToHeartbeat) => {
  heardOfMain = Date.now();
  if (message.type === "alive") lagMs = Math.max(lagMs, message.lagMs);
  if (message.type === "leave") leaving.abort();
  if (message.type === "recovered") onRecovered?.();
});

/** The connection whose session holds this worker's lock. Losing it is losing the runs. */
const holder = new pg.Client({
  ...options.connection,
  ...KEEP_ALIVE,
  application_name: "pawl heartbeat",
  connectionTimeoutMillis: 10_000,
  query_timeout: Math.min(10_000, options.leaseSeconds * 1_000), // an answer that comes later is about a lease that is over
});

function lose(reason: string): void {
  if (leaving.signal.aborted) return;
  tell({ type: "lost", reason });
  leaving.abort();
}

async function join(): Promise<bigint> {
  holder.on("error", (error) => lose(error.message));
  holder.on("end", () => lose("the connection that holds the worker's lock ended"));
  await holder.connect();
  await haveItNotice(holder);
  // The lock first, the row second, in one transaction: nobody can see the row while the lock is free.
  await holder.query("begin");
  const { rows } = await holder.query<{ lock_key: string }>(
    `insert into workers (worker_id, host, pid, lease_until, concurrency)
     values ($1, $2, $3, now() + make_interval(secs => $4), $5)
     returning lock_key`,
    [options.workerId, options.host, options.pid, options.leaseSeconds, options.concurrency],
  );
  const key = BigInt(rows[0]?.lock_key ?? 0);
  await holder.query("select pg_advisory_lock($1)", [String(LOCK_BASE + key)]);
  await holder.query("commit");
  return key;
}

/**
 * Lets the server notice that this process is gone when its machine cannot say so any more: it probes the connection,
 * and looks at it while it waits for a lock (a dead process would stay in the queue for the lock, and get it).
 */
async function haveItNotice(client: pg.Client): Promise<void> {
  await client.query("set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 2; set tcp_keepalives_count = 3");
  await client.query("set client_connection_check_interval = '2s'").catch(() => {}); // not on every platform
}

async function beat(): Promise<void> {
  const period = (options.leaseSeconds * 1000) / 3;
  while (!leaving.signal.aborted) {
    await delay(period, undefined, { signal: leaving.signal });
    const silenceMs = Date.now() - heardOfMain;
    if (silenceMs > options.watchdogMs) return lose("the main loop has been silent for too long");
    const lag = Math.max(lagMs, silenceMs - ALIVE_MS); // blocked now, perhaps: then it says nothing itself
    lagMs = 0;
    const { rowCount } = await holder.query({
      name: "beat",
      text: `
        update workers
           set heartbeat_at = now(), lease_until = now() + make_interval(secs => $2), loop_lag_ms = greatest(0, $3::real)
         where worker_id = $1`,
      values: [options.workerId, options.leaseSeconds, lag],
    });
    if (rowCount !== 1) return lose("another worker has taken this one for dead");
  }
}

/** Waits for the lock of the next worker of the ring; once it is granted that worker is dead. */
async function watchRing(key: bigint): Promise<void> {
  while (!leaving.signal.aborted) {
    const next = await successor(key);
    if (next && (await fellFree(next, key))) {
      const recovered = new Promise<void>((resolve) => (onRecovered = resolve));
      tell({ type: "dead", workerId: next.worker_id });
      await Promise.race([recovered, delay(1_000, undefined, { signal: leaving.signal })]);
    } else {
      await delay(1_000, undefined, { signal: leaving.signal });
    }
  }
}

interface Peer {
  readonly worker_id: string;
  readonly lock_key: string;
}

async function successor(key: bigint): Promise<Peer | undefined> {
  const { rows } = await holder.query<Peer>({
    name: "successor",
    text: `select worker_id, lock_key from workers where worker_id <> $1 order by lock_key <= $2, lock_key limit 1`,
    values: [options.workerId, String(key)],
  });
  return rows[0];
}

/** True when the peer's lock was granted; false when the ring has changed meanwhile, or the connection was lost. */
async function fellFree(peer: Peer, key: bigint): Promise<boolean> {
  const client = new pg.Client({ ...options.connection, ...KEEP_ALIVE, application_name: "pawl ring watch" });
  client.on("error", () => {});
  try {
    await client.connect();
    await haveItNotice(client);
    const granted = client
      .query("select pg_advisory_lock($1)", [String(LOCK_BASE + BigInt(peer.lock_key))])
      .then(() => true);
    granted.catch(() => {}); // it ends with its connection, also when nobody waits for it any more
    const changed = new AbortController();
    const result = await Promise.race([granted, ringChanged(peer, key, changed.signal).then(() => false)]);
    changed.abort();
    return result;
  } catch {
    return false; // the ring is looked at again
  } finally {
    // Not `end()`, which waits for the query under way.
    (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
  }
}

async function ringChanged(peer: Peer, key: bigint, signal: AbortSignal): Promise<void> {
  const both = AbortSignal.any([signal, leaving.signal]);
  for (;;) {
    await delay(2_000, undefined, { signal: both });
    if ((await successor(key))?.worker_id !== peer.worker_id) return;
  }
}

async function leave(): Promise<void> {
  // With runs left the row stays: it is how the others find them.
  await holder
    .query(
      "delete from workers w where worker_id = $1 and not exists (select from runs r where r.worker_id = $1 and r.status = 'running')",
      [options.workerId],
    )
    .catch(() => {});
  await holder.end().catch(() => {});
  main?.close();
}

try {
  const key = await join();
  tell({ type: "joined" });
  await Promise.all([beat(), watchRing(key)]);
} catch (thrown) {
  const error = asError(thrown);
  if (error.name !== "AbortError") lose(error.message);
} finally {
  await leave();
}
