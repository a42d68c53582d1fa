/**
 * Wake-ups between processes over one dedicated LISTEN connection. A signal is a hint, never the truth: whoever gets
 * one reads the rows, a lost one costs at most the backstop interval of its listener.
 *
 * Sending goes over the same connection, after the cause has committed and coalesced per tick: a NOTIFY inside a
 * transaction that commits synchronously holds a global lock across the fsync (measured: 7 times fewer commits). In this
 * process signals go from hand to hand, and over the connection only once another process has said that it listens.
 */
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { asError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { type ConnectTo, KEEP_ALIVE } from "./pool.ts";

/**
 * `work`: a run may be claimed by another process; the sender looks for itself · `control`: a run (payload) is to be
 * cancelled · `events`: a run (payload) has news.
 */
export type Channel = "work" | "control" | "events";
const channels: readonly Channel[] = ["work", "control", "events"];
/** Processes that listen: one that has begun says `new`, and the others answer it. */
const PRESENCE = "pawl_presence";
/** Milliseconds after which nobody else is taken to listen, if nobody was heard. */
const ANSWER_MS = 1_000;

type Listener = (payload: string) => void;

export interface Signals {
  /** Sends to every process, soon; to this one too, but for `work`. */
  send(channel: Channel, payload: string): void;
  /** Calls `listener` for each payload on `channel`, and with "" when signals may have been missed. Returns the way out. */
  on(channel: Channel, listener: Listener): () => void;
  close(): Promise<void>;
}

/** Milliseconds that signals wait for company after others were sent: at 100 runs a second each would cost a statement. */
const PACE_MS = 5;
const RECONNECT_MS = 250;
const CONNECT_TIMEOUT_MS = 10_000;

export async function openSignals(connection: ConnectTo, log: Log): Promise<Signals> {
  const listeners: Record<Channel, Set<Listener>> = { work: new Set(), control: new Set(), events: new Set() };
  const outgoing = new Map<string, [Channel, string]>();
  let local = new Map<string, [Channel, string]>();
  /** Another process may listen: one was heard since this one does, or has had no time to answer yet. */
  let isInCompany = true;
  let alone: NodeJS.Timeout | undefined;
  const closing = new AbortController();
  let client: pg.Client | undefined;
  let flushing: Promise<void> | undefined;

  async function connect(): Promise<void> {
    const fresh = new pg.Client({
      ...connection,
      application_name: "pawl signals",
      ...KEEP_ALIVE,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: CONNECT_TIMEOUT_MS, // a half-open socket would hold up what is to be sent
    });
    fresh.on("error", (error) => log.warn({ error }, "signal connection lost"));
    fresh.on("end", () => {
      if (client !== fresh) return; // it never came up: whoever connects sees that, and tries again
      client = undefined;
      if (!closing.signal.aborted) void reconnect();
    });
    let ownPid: number | undefined;
    fresh.on("notification", ({ channel, payload = "", processId }) => {
      if (processId === ownPid) return;
      clearTimeout(alone);
      isInCompany = true;
      if (channel !== PRESENCE) deliver(channel.replace(/^pawl_/, "") as Channel, payload);
      else if (payload === "new") fresh.query(`notify ${PRESENCE}`).catch(() => {}); // a lost connection is noticed elsewhere
    });
    await fresh.connect();
    const { rows } = await fresh.query<{ pid: number }>("select pg_backend_pid() as pid");
    ownPid = rows[0]?.pid;
    await fresh.query(channels.map((name) => `listen pawl_${name};`).join("") + `listen ${PRESENCE}`);
    isInCompany = true;
    clearTimeout(alone);
    alone = setTimeout(() => (isInCompany = false), ANSWER_MS).unref();
    await fresh.query(`notify ${PRESENCE}, 'new'`);
    if (closing.signal.aborted) return fresh.end();
    client = fresh;
  }

  function deliver(channel: Channel, payload: string): void {
    for (const listener of listeners[channel] ?? []) listener(payload);
  }

  function deliverLocally(): void {
    const batch = local.values();
    local = new Map();
    for (const [channel, payload] of batch) deliver(channel, payload);
  }

  async function reconnect(): Promise<void> {
    while (!closing.signal.aborted) {
      try {
        await delay(RECONNECT_MS, undefined, { signal: closing.signal });
        await connect();
        for (const name of channels) for (const listener of listeners[name]) listener("");
        return;
      } catch (thrown) {
        if (!closing.signal.aborted) log.debug({ error: asError(thrown) }, "signals still out of reach");
      }
    }
  }

  /** Sends what there is, and what comes meanwhile. */
  function flush(): Promise<void> {
    flushing ??= sendAll().finally(() => (flushing = undefined));
    return flushing;
  }

  async function sendAll(): Promise<void> {
    try {
      for (let sender = client; sender && outgoing.size > 0; sender = client) {
        const batch = [...outgoing.values()];
        outgoing.clear();
        await sender.query({
          name: "send-signals",
          text: "select pg_notify('pawl_' || channel, payload) from unnest($1::text[], $2::text[]) as s(channel, payload)",
          values: [batch.map(([channel]) => channel), batch.map(([, payload]) => payload)],
        });
        await delay(PACE_MS, undefined, { signal: closing.signal }).catch(() => {}); // closed: the rest goes at once
      }
    } catch (thrown) {
      log.warn({ error: asError(thrown) }, "signals not sent");
    } finally {
      outgoing.clear();
    }
  }

  await connect();
  return {
    send(channel, payload) {
      const key = `${channel} ${payload}`;
      if (channel !== "work") {
        if (local.size === 0) setImmediate(deliverLocally);
        local.set(key, [channel, payload]);
      }
      if (!isInCompany) return;
      if (outgoing.size === 0) setImmediate(() => void flush());
      outgoing.set(key, [channel, payload]);
    },
    on(channel, listener) {
      listeners[channel].add(listener);
      return () => void listeners[channel].delete(listener);
    },
    async close() {
      closing.abort();
      clearTimeout(alone);
      await flush();
      await client?.end();
    },
  };
}
