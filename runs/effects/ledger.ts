/**
 * Effects on the world outside, through a row each: the row is durable before the effect, the result before the step
 * that asked for it. Fenced: a worker that lost its lease dispatches nothing.
 */
import { type Owner, fence, leaseLost } from "../../db/fence.ts";
import type { Queryable } from "../../db/pool.ts";
import { PawlError } from "../../lib/errors.ts";
import type { Effect, EffectContext } from "../../lib/host.ts";

export interface LedgerOptions {
  readonly db: Queryable;
  readonly owner: Owner;
  readonly run: { readonly run_id: string; readonly tenant: string };
  readonly signal: AbortSignal;
  readonly durability: "sync" | "async" | "exit";
}

type Dispatch = { readonly state: "dispatched" } | { readonly state: "committed"; readonly result: unknown };

/** See `HostPorts.effect`. A failure of `fn` is thrown on; whether the effect happened is then known for no irreversible one. */
export async function runEffect<T>(
  options: LedgerOptions,
  effect: Effect,
  fn: (context: EffectContext) => Promise<T>,
): Promise<T> {
  if (options.durability !== "sync") {
    throw new PawlError(
      "durability_required",
      `${effect.name} needs a run with durability "sync": with less its repetition could not be told`,
    );
  }
  const { owner, signal } = options;
  signal.throwIfAborted(); // a row without an effect behind it would look like one whose outcome is unknown
  const dispatch = await dispatchEffect(options, effect);
  if (dispatch.state === "committed") return dispatch.result as T;
  signal.throwIfAborted();
  const result = await fn({ idempotencyKey: `${owner.thread_id}:${effect.key}`, signal }).catch(
    async (error: unknown) => {
      if (effect.kind === "idempotent") await settle(options, effect, { state: "failed", result: null });
      throw error;
    },
  );
  const settled = await settle(options, effect, { state: "committed", result: JSON.stringify(result ?? null) });
  if (!settled) throw leaseLost(owner);
  return result;
}

/** Reserves the key, or takes over a row whose effect may be sent again. */
async function dispatchEffect({ db, owner, run }: LedgerOptions, effect: Effect): Promise<Dispatch> {
  const { rows } = await db.query<{ state: string; result: string | null; mine: boolean }>({
    name: "dispatch-effect",
    text: `
      with ${fence},
           mine as (
             insert into effects as e (thread_id, key, tenant, run_id, epoch, name)
             select $1, $3, $4, $5, $2, $6 from fence
             on conflict (thread_id, key) do update
                set state = 'dispatched', run_id = excluded.run_id, epoch = excluded.epoch,
                    dispatched_at = now(), settled_at = null, result = null
              where $7 = 'idempotent' and e.state <> 'committed'
             returning state, result)
      select state, result, true as mine from mine
      union all
      select e.state, e.result, false from effects e, fence
       where e.thread_id = $1 and e.key = $3 and not exists (select from mine)`,
    values: [owner.thread_id, owner.epoch, effect.key, run.tenant, run.run_id, effect.name, effect.kind],
  });
  const [row] = rows;
  if (!row) throw leaseLost(owner);
  if (row.mine) return { state: "dispatched" };
  if (row.state === "committed") return { state: "committed", result: JSON.parse(row.result ?? "null") };
  throw new PawlError(
    "effect_unknown",
    `${effect.name} was sent before, and whether it happened is not known; it is not repeated`,
    {
      facts: { key: effect.key },
    },
  );
}

async function settle(
  { db, owner }: LedgerOptions,
  effect: Effect,
  outcome: { state: "committed" | "failed"; result: string | null },
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: "settle-effect",
    text: `
      with ${fence}
      update effects e
         set state = $4, result = $5, settled_at = now()
        from fence
       where e.thread_id = $1 and e.key = $3 and e.epoch = $2 and e.state = 'dispatched'`,
    values: [owner.thread_id, owner.epoch, effect.key, outcome.state, outcome.result],
  });
  return rowCount === 1;
}
