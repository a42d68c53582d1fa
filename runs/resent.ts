/** Finds the run that a POST has created already: the stock client sends a POST again when its socket dropped. */
import { createHash } from "node:crypto";
import type pg from "pg";
import { encryptionOf } from "../checkpoints/encryption.ts";
import { KEY_GROUP } from "../db/advisory-locks.ts";
import type { Queryable } from "../db/pool.ts";
import { PawlError } from "../lib/errors.ts";
import type { Principal } from "../lib/principal.ts";
import type { CreateOptions } from "./index.ts";
import { Run, type RunCreate, runColumns } from "./run.ts";
import { openRun, possibleDigests } from "./sealed-columns.ts";

/** Seconds in which an equal POST counts as the same one, if its answer was never delivered. */
const RESEND_SECONDS = 30;

export interface ResendContext {
  readonly pool: pg.Pool;
  /** Whether an equal POST that comes now may be the one that created the run, sent again. */
  readonly mayBeResent: (created: { run_id: string; age_ms: number }) => boolean;
}

/** What a client asks for when it creates a run. */
export interface CreateRequest {
  readonly principal: Principal;
  readonly body: RunCreate;
  readonly options: CreateOptions;
}

const NAMED = `runs
       where (tenant = $1 and idempotency_key = $3) or run_id = $4`;

// By the digest alone first (`offset 0` keeps the planner from another index): a young table has no statistics, and of
// an index on the tenant Postgres would look at each of its runs.
const RESENT = `(select * from runs where request_digest = any($2::bytea[]) and not answered offset 0) equal
       where tenant = $1 and created_at > now() - make_interval(secs => ${RESEND_SECONDS})
         and (thread_id = $3 or $3::uuid is null)`;

/**
 * By idempotency key, by the client's own run id, or, for stock clients, by thread and digest of the body while the
 * first answer is not known to have arrived. Then `mayBeResent` decides: as long as the client of the first POST is still
 * on the line, an equal POST is another client's. Throws `already_exists` when the id or key belongs to a different request.
 */
export async function findCreated(
  tx: Queryable,
  { principal, body, options }: CreateRequest,
  { pool, mayBeResent }: ResendContext,
): Promise<Run | undefined> {
  const { idempotencyKey, digest, threadId } = options;
  const isNamed = idempotencyKey !== undefined || body.run_id !== undefined;
  if (!isNamed && !digest) return undefined;
  const { rows } = await tx.query({
    // Two texts: one that served both would be planned anew each time.
    name: isNamed ? "find-named-run" : "find-resent-run",
    text: `
      select ${runColumns}, tenant, request_digest = any($2::bytea[]) as is_equal,
             extract(epoch from clock_timestamp() - created_at)::float8 * 1000 as age_ms
        from ${isNamed ? NAMED : RESENT}
       order by seq desc
       limit 5`,
    values: [
      principal.tenant,
      digest ? possibleDigests(encryptionOf(pool), digest) : null,
      ...(isNamed ? [idempotencyKey ?? null, body.run_id ?? null] : [threadId ?? null]),
    ],
  });
  const row = rows.find((candidate) => isNamed || mayBeResent(candidate));
  if (!row) return undefined;
  if (
    row.is_equal === false ||
    row.tenant !== principal.tenant ||
    (threadId !== undefined && row.thread_id !== threadId)
  ) {
    throw new PawlError("already_exists", "This run id or idempotency key was used for another request");
  }
  return Run.parse(openRun(encryptionOf(pool), row));
}

/** Notes that the answer to the POST which created the run has arrived. Returns whether the run waits to be claimed. */
export async function noteAnswered(db: Queryable, runId: string): Promise<boolean> {
  const { rows } = await db.query<{ waits: boolean }>({
    name: "run-answered",
    // Not worth waiting for the disk: a crash of Postgres that loses it makes an equal POST find this run.
    text: `
      with lazy as materialized (select set_config('synchronous_commit', 'off', true))
      update runs set answered = true from lazy where run_id = $1
      returning status = 'pending' and ready as waits`,
    values: [runId],
  });
  return rows[0]?.waits ?? false;
}

/**
 * What stays spent when the run is gone: the idempotency key, or else the run id that the client has given, in a form
 * that no header has. Undefined for a POST that has neither.
 */
export function keyOf({ body, options }: Omit<CreateRequest, "principal">): string | undefined {
  return options.idempotencyKey ?? (body.run_id && `run_id\n${body.run_id}`);
}

/**
 * Locks the key until the transaction ends. Of two POSTs under one key the later one then looks after the earlier one's
 * run was inserted. Without the lock a stateless run may come and go between the look and the insert of the later one.
 */
export async function lockKey(tx: Queryable, { tenant }: Principal, key: string): Promise<void> {
  const digest = createHash("sha256").update(`${tenant}\n${key}`).digest();
  await tx.query({
    name: "lock-key",
    text: "select pg_advisory_xact_lock($1, $2)",
    values: [KEY_GROUP, digest.readInt32BE()],
  });
}

/**
 * Refuses a key whose run is gone: there is nothing to answer with, and a second run would do again what the first one
 * did, or what somebody wanted undone. Throws `already_exists` (facts: the `run_id`).
 */
export async function refuseSpentKey(tx: Queryable, { tenant }: Principal, key: string): Promise<void> {
  const { rows } = await tx.query<{ run_id: string }>({
    name: "find-spent-key",
    text: "select run_id from spent_keys where tenant = $1 and idempotency_key = $2",
    values: [tenant, key],
  });
  const [spent] = rows;
  if (!spent) return;
  throw new PawlError(
    "already_exists",
    "The run that was created under this idempotency key or run id is gone: it was rolled back or deleted, or was stateless and is over",
    { facts: { run_id: spent.run_id } },
  );
}
