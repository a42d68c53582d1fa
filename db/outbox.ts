/**
 * Side effects of the server itself: written in the transaction of their cause, so that neither happens without the
 * other, and delivered afterwards at least once. A handler must bear a repetition.
 */
import type pg from "pg";
import { asError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { type Queryable, transaction } from "./pool.ts";

export interface OutboxEntry {
  readonly tenant: string;
  readonly kind: string;
  /** A JSON object. */
  readonly payload: Record<string, unknown>;
}

export type OutboxHandlers = Readonly<Record<string, (entry: OutboxEntry) => Promise<void>>>;

export async function enqueue(tx: Queryable, { tenant, kind, payload }: OutboxEntry): Promise<void> {
  await tx.query({
    name: "enqueue-outbox",
    text: "insert into outbox (tenant, kind, payload) values ($1, $2, $3)",
    values: [tenant, kind, payload],
  });
}

interface OutboxOptions {
  readonly pool: pg.Pool;
  /** By kind. Entries of other kinds are left to processes that know them. */
  readonly handlers: OutboxHandlers;
  readonly log: Log;
}

const POLL_MS = 1_000;
/** After this many failed attempts an entry is left for a human: `failed_at` is set. */
const MAX_ATTEMPTS = 10;

/** Delivers entries until closed; `close` waits for the one under way. */
export function startOutbox(options: OutboxOptions): { close(): Promise<void> } {
  let draining: Promise<void> | undefined;
  const drain = (): void => {
    draining ??= drainOutbox(options)
      .catch((thrown: unknown) => options.log.warn({ error: asError(thrown) }, "outbox not drained, trying again soon"))
      .finally(() => {
        draining = undefined;
      });
  };
  const timer = setInterval(drain, POLL_MS);
  return {
    async close() {
      clearInterval(timer);
      await draining;
    },
  };
}

/** Delivers what is due now. */
export async function drainOutbox(options: OutboxOptions): Promise<void> {
  while (await deliverOne(options));
}

type Row = OutboxEntry & { readonly id: string; readonly attempts: number };

/** The row stays locked while its handler runs: nobody else delivers it meanwhile, and a crash leaves it as it was. */
function deliverOne({ pool, handlers, log }: OutboxOptions): Promise<boolean> {
  return transaction(pool, async (tx) => {
    const { rows } = await tx.query<Row>({
      name: "take-outbox",
      text: `
        select id, tenant, kind, payload, attempts
          from outbox
         where due_at <= now() and failed_at is null and kind = any($1)
         order by due_at, id
         limit 1
           for update skip locked`,
      values: [Object.keys(handlers)],
    });
    const [entry] = rows;
    if (!entry) return false;
    try {
      await handlers[entry.kind]?.(entry);
      await tx.query({ name: "outbox-done", text: "delete from outbox where id = $1", values: [entry.id] });
    } catch (thrown) {
      const error = asError(thrown);
      log.warn({ error, kind: entry.kind, attempts: entry.attempts + 1 }, "outbox entry not delivered");
      await tx.query({
        name: "outbox-failed",
        text: `
          update outbox
             set attempts = attempts + 1, last_error = $2, due_at = now() + make_interval(secs => least(3600, 2 ^ attempts)),
                 failed_at = case when attempts + 1 >= $3 then now() end
           where id = $1`,
        values: [entry.id, error.message, MAX_ATTEMPTS],
      });
    }
    return true;
  });
}
