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
type Channel = "work" | "control" | "events";
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
  const signals = new PostgresSignals(connection, log);
  await signals.connect();
  return signals;
}

/** Signals that wait to be sent or delivered: of equal ones, one. */
type Batch = Map<string, readonly [Channel, string]>;

class PostgresSignals implements Signals {
  readonly #connection: ConnectTo;
  readonly #log: Log;
  readonly #listeners: Record<Channel, Set<Listener>> = { work: new Set(), control: new Set(), events: new Set() };
  readonly #outgoing: Batch = new Map();
  #local: Batch = new Map();
  /** Another process may listen: one was heard since this one does, or has had no time to answer yet. */
  #isInCompany = true;
  #alone: NodeJS.Timeout | undefined;
  readonly #closing = new AbortController();
  #client: pg.Client | undefined;
  #flushing: Promise<void> | undefined;

  constructor(connection: ConnectTo, log: Log) {
    this.#connection = connection;
    this.#log = log;
  }

  send(channel: Channel, payload: string): void {
    const key = `${channel} ${payload}`;
    if (channel !== "work") {
      if (this.#local.size === 0) setImmediate(() => this.#deliverLocally());
      this.#local.set(key, [channel, payload]);
    }
    if (!this.#isInCompany) return;
    if (this.#outgoing.size === 0) setImmediate(() => void this.#flush());
    this.#outgoing.set(key, [channel, payload]);
  }

  on(channel: Channel, listener: Listener): () => void {
    this.#listeners[channel].add(listener);
    return () => void this.#listeners[channel].delete(listener);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#alone);
    await this.#flush();
    await this.#client?.end();
  }

  async connect(): Promise<void> {
    const client = new pg.Client({
      ...this.#connection,
      application_name: "pawl signals",
      ...KEEP_ALIVE,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: CONNECT_TIMEOUT_MS, // a half-open socket would hold up what is to be sent
    });
    client.on("error", (error) => this.#log.warn({ error }, "signal connection lost"));
    client.on("end", () => {
      if (this.#client !== client) return; // it never came up: whoever connects sees that, and tries again
      this.#client = undefined;
      if (!this.#closing.signal.aborted) void this.#reconnect();
    });
    let ownPid: number | undefined;
    client.on("notification", ({ channel, payload = "", processId }) => {
      if (processId !== ownPid) this.#hear(client, channel, payload);
    });
    await client.connect();
    const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
    ownPid = rows[0]?.pid;
    await client.query(channels.map((name) => `listen pawl_${name};`).join("") + `listen ${PRESENCE}`);
    this.#isInCompany = true;
    clearTimeout(this.#alone);
    this.#alone = setTimeout(() => (this.#isInCompany = false), ANSWER_MS).unref();
    await client.query(`notify ${PRESENCE}, 'new'`);
    if (this.#closing.signal.aborted) return client.end();
    this.#client = client;
  }

  async #reconnect(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      try {
        await delay(RECONNECT_MS, undefined, { signal: this.#closing.signal });
        await this.connect();
        for (const name of channels) this.#deliver(name, "");
        return;
      } catch (thrown) {
        if (!this.#closing.signal.aborted) this.#log.debug({ error: asError(thrown) }, "signals still out of reach");
      }
    }
  }

  /** What another process has sent. */
  #hear(client: pg.Client, channel: string, payload: string): void {
    clearTimeout(this.#alone);
    this.#isInCompany = true;
    if (channel !== PRESENCE) this.#deliver(channel.replace(/^pawl_/, "") as Channel, payload);
    else if (payload === "new") client.query(`notify ${PRESENCE}`).catch(() => {}); // a lost connection is noticed elsewhere
  }

  #deliver(channel: Channel, payload: string): void {
    for (const listener of this.#listeners[channel] ?? []) listener(payload);
  }

  #deliverLocally(): void {
    const batch = this.#local.values();
    this.#local = new Map();
    for (const [channel, payload] of batch) this.#deliver(channel, payload);
  }

  /** Sends what there is, and what comes meanwhile. */
  #flush(): Promise<void> {
    this.#flushing ??= this.#sendAll().finally(() => (this.#flushing = undefined));
    return this.#flushing;
  }

  async #sendAll(): Promise<void> {
    try {
      for (let client = this.#client; client && this.#outgoing.size > 0; client = this.#client) {
        const batch = [...this.#outgoing.values()];
        this.#outgoing.clear();
        await client.query({
          name: "send-signals",
          text: "select pg_notify('pawl_' || channel, payload) from unnest($1::text[], $2::text[]) as s(channel, payload)",
          values: [batch.map(([channel]) => channel), batch.map(([, payload]) => payload)],
        });
        await delay(PACE_MS, undefined, { signal: this.#closing.signal }).catch(() => {}); // closed: the rest goes at once
      }
    } catch (thrown) {
      this.#log.warn({ error: asError(thrown) }, "signals not sent");
    } finally {
      this.#outgoing.clear();
    }
  }
}
