/**
 * The rows of a thread's effects in Postgres, for one attempt at a run. Each transition is one statement that holds the
 * fence: a worker that lost its lease dispatches, settles and decides nothing. A dispatch and what ends it wait for the
 * disk even where the database does not by itself. A reservation does not wait: the dispatch after it brings it along.
 */
import type { Encryption } from "../../checkpoints/encryption.ts";
import { untilReachable } from "../../db/connection-error.ts";
import { type Owner, fence, leaseLost } from "../../db/fence.ts";
import type { Queryable } from "../../db/pool.ts";
import { cameFrom, type EffectAnswer, type KnownEffect } from "../../lib/effect.ts";
import type { AnsweredEffect, EffectOutcome, EffectRows, TaskEffect } from "../../lib/effect-ledger.ts";
import type { EffectRow } from "../../lib/effect-row.ts";
import { storedMessage, storedResult } from "./sealed-results.ts";
import { deadline, effectColumns, openEffect, openResult, type StoredEffect } from "./stored-effect.ts";

export interface EffectRowsOptions {
  readonly db: Queryable;
  readonly owner: Owner;
  /** Seals results and what people said about them; they are stored in clear without. */
  readonly encryption: Encryption | undefined;
  readonly run: { readonly run_id: string; readonly tenant: string };
  /** Aborted when the run is cancelled or its worker lost the lease. */
  readonly signal: AbortSignal;
}

/** The name of a CTE with one row; whoever joins it gets a durable commit. */
const durable = `durable as materialized (
  select set_config('synchronous_commit',
                    case current_setting('synchronous_commit') when 'off' then 'on' else current_setting('synchronous_commit') end,
                    true) from fence)`;

export class EffectsInPostgres implements EffectRows {
  readonly #db: Queryable;
  readonly #owner: Owner;
  readonly #encryption: Encryption | undefined;
  readonly #run: EffectRowsOptions["run"];
  readonly #signal: AbortSignal;

  constructor({ db, owner, encryption, run, signal }: EffectRowsOptions) {
    this.#db = db;
    this.#owner = owner;
    this.#encryption = encryption;
    this.#run = run;
    this.#signal = signal;
  }

  reserve(effect: TaskEffect): Promise<EffectRow> {
    const { key, taskId, name, kind, toolCallId } = effect;
    return this.#row(taskId, {
      name: "reserve-effect",
      text: `
        with ${fence},
             lazy as materialized (select set_config('synchronous_commit', 'off', true) from fence),
             mine as (
               insert into effects as e (thread_id, key, task_id, tenant, run_id, epoch, name, kind, tool_call_id,
                                         state, attempt, dispatched_at)
               select $1, $3, $4, $5, $6, $2, $7, $8, $9, 'reserved', 0, null from lazy
               on conflict (thread_id, key) do update
                  set state = 'reserved', task_id = excluded.task_id, run_id = excluded.run_id, epoch = excluded.epoch,
                      kind = excluded.kind, tool_call_id = excluded.tool_call_id,
                      dispatched_at = null, deadline = null, settled_at = null, result = null
                where e.state = 'reserved'
                   or (e.state = 'failed' and (e.result is null or e.task_id is distinct from excluded.task_id))
                   -- both: what was sent as irreversible does not become repeatable because its tool is declared anew
                   or (e.state in ('dispatched', 'unknown') and excluded.kind = 'idempotent' and e.kind = 'idempotent')
                   or (e.state in ('committed', 'failed') and $10 and e.task_id is distinct from excluded.task_id)
               returning *)
        select ${effectColumns} from mine e
        union all
        select ${effectColumns} from effects e, fence
         where e.thread_id = $1 and e.key = $3 and not exists (select from mine)`,
      values: [
        ...this.#keys(key, taskId),
        this.#run.tenant,
        this.#run.run_id,
        name,
        kind,
        toolCallId ?? null,
        effect.changeOfFiles !== undefined,
      ],
    });
  }

  dispatch({ key, taskId }: TaskEffect, { attempt }: EffectRow, withinMs: number): Promise<EffectRow> {
    return this.#row(taskId, {
      name: "dispatch-effect",
      text: `
        with ${fence},
             ${durable},
             e as (
               update effects e
                  set state = 'dispatched', attempt = e.attempt + 1, dispatched_at = clock_timestamp(),
                      deadline = clock_timestamp() + make_interval(secs => $6::float8 / 1000)
                 from durable
                where e.thread_id = $1 and e.key = $3 and e.state = 'reserved' and e.attempt = $5
               returning e.*)
        select ${effectColumns} from e`,
      values: [...this.#keys(key, taskId), attempt, withinMs],
    });
  }

  /**
   * Waits while Postgres is away: what is known must not be lost with a connection. If a try that failed did land, the
   * next one finds nothing to change, and the run goes on elsewhere, from the stored result.
   */
  async settle({ key }: TaskEffect, attempt: number, { state, result, files }: EffectOutcome): Promise<void> {
    const query = {
      name: "settle-effect",
      text: `
        with ${fence},
             ${durable},
             settled as (
        update effects e
           set state = $5, result = $6,
               settled_at = case when $5 <> 'reserved' then clock_timestamp() end,
               dispatched_at = case when $5 <> 'reserved' then e.dispatched_at end,
               deadline = case when $5 <> 'reserved' then e.deadline end
          from durable
         where e.thread_id = $1 and e.key = $3 and e.attempt = $4 and e.state = any($7)
        returning e.thread_id::text),
             changed as (
               insert into file_changes (thread_id, checkpoint_id, version, run_id, effect_key)
               select thread_id, $8, decode($9, 'hex'), $10, $3 from settled where $9 is not null)
        select from settled`,
      values: [
        this.#owner.thread_id,
        this.#owner.epoch,
        key,
        attempt,
        state,
        result === undefined ? null : storedResult(this.#encryption, this.#place(key, attempt), result),
        cameFrom[state],
        files?.checkpointId ?? null,
        files?.version ?? null,
        this.#run.run_id,
      ],
    };
    const { rowCount } = await untilReachable(() => this.#db.query(query), this.#signal);
    if (rowCount !== 1) throw leaseLost(this.#owner);
  }

  /**
   * "It did not happen" counts if the run that says so was asked for after the deadline: whoever looked earlier may
   * have missed a late send. Of two answers the first decides; a task's answer is recorded once.
   */
  async answer({ key, taskId, attempt, ordinal }: AnsweredEffect, answer: EffectAnswer): Promise<void> {
    const { decision, result = null } = answer;
    const place = { ...this.#place(key, attempt), task_id: taskId, ordinal, decision };
    const { message, sealed } = storedMessage(this.#encryption, place, answer.message ?? null);
    const { rowCount } = await this.#db.query({
      name: "answer-effect",
      text: `
        with ${fence},
             ${durable},
             asked as materialized (
               select ${deadline} as deadline
                 from effects e, durable
                where e.thread_id = $1 and e.key = $3 and e.attempt = $5 and e.state = 'unknown'
                  for update of e),
             recorded as (
               insert into effect_answers (thread_id, key, task_id, attempt, ordinal, decision, refusal, message, sealed,
                                           run_id, answered_by)
               select $1, $3, $4, $5, $6, $7,
                      case when $7 = 'unclear' then 'unclear'
                           when $7 = 'not_happened' and r.created_at <= asked.deadline then 'too_early' end,
                      $8, $11, r.run_id, r.created_by
                 from asked join runs r on r.run_id = $10
                   on conflict do nothing
               returning decision, refusal),
             decided as (
               update effects e
                  set state = case recorded.decision when 'happened' then 'committed' else 'reserved' end,
                      result = case recorded.decision when 'happened' then $9 end,
                      settled_at = case recorded.decision when 'happened' then clock_timestamp() end,
                      dispatched_at = case recorded.decision when 'happened' then e.dispatched_at end,
                      deadline = case recorded.decision when 'happened' then e.deadline end
                 from recorded
                where e.thread_id = $1 and e.key = $3
                  and recorded.refusal is null and recorded.decision in ('happened', 'not_happened'))
        select from fence`,
      values: [
        ...this.#keys(key, taskId),
        attempt,
        ordinal,
        decision,
        message,
        storedResult(this.#encryption, this.#place(key, attempt), result),
        this.#run.run_id,
        sealed,
      ],
    });
    if (rowCount !== 1) throw leaseLost(this.#owner);
  }

  async known(toolCallIds: readonly string[]): Promise<KnownEffect[]> {
    const { rows } = await this.#db.query<
      Pick<StoredEffect, "key" | "state" | "attempt" | "result"> & { tool_call_id: string }
    >({
      name: "known-effects",
      // Keys of older processes: the call's id and 64 hexadecimal digits.
      text: `
        select * from (
          select coalesce(tool_call_id, left(key, -65)) as tool_call_id, key, state, attempt, result from effects where thread_id = $1) known
         where tool_call_id = any($2)`,
      values: [this.#owner.thread_id, toolCallIds],
    });
    return rows.map((row) => ({
      toolCallId: row.tool_call_id,
      state: row.state,
      ...(row.result !== null && { result: openResult(this.#reader(), row) }),
    }));
  }

  #place(key: string, attempt: number) {
    return { thread_id: this.#owner.thread_id, key, attempt };
  }

  #keys(key: string, taskId: string): string[] {
    return [this.#owner.thread_id, this.#owner.epoch, key, taskId];
  }

  async #row(taskId: string, query: { name: string; text: string; values: unknown[] }): Promise<EffectRow> {
    const { rows } = await this.#db.query<StoredEffect>(query);
    const [row] = rows;
    if (!row) throw leaseLost(this.#owner);
    return openEffect(this.#reader(), taskId, row);
  }

  #reader() {
    return { encryption: this.#encryption, thread_id: this.#owner.thread_id };
  }
}
