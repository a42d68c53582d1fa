/** What the ledger promises wherever its rows are; the rows in Postgres have tests of their own. */
import { afterEach, expect, test, vi } from "vitest";
import type { EffectContext, ReconcileContext } from "../../lib/effect.ts";
import { EffectLedger, type EffectRows } from "../../lib/effect-ledger.ts";
import { EffectsInMemory } from "../../lib/effects-in-memory.ts";
import { isPawlError } from "../../lib/errors.ts";

const never = new AbortController().signal;
afterEach(() => void vi.useRealTimers());

const wire = { key: "wire", name: "wire", kind: "irreversible", taskId: "task", timeoutMs: 1_000 } as const;
const lost = (): Promise<never> => Promise.reject(new Error("socket closed"));
const isUnknown = (error: unknown): boolean => isPawlError(error, "effect_unknown");

/** Rows behind which the time passes while they are dispatched. */
class Slow extends EffectsInMemory {
  override async dispatch(...args: Parameters<EffectRows["dispatch"]>) {
    const row = await super.dispatch(...args);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 2_500 });
    return row;
  }
}

test("what took too long to be recorded is not sent, and is known not to have been", async () => {
  const rows = new Slow("thread");
  const ledger = new EffectLedger(rows, never);
  await expect(ledger.perform(wire, () => expect.unreachable())).rejects.toMatchObject({
    code: "database_unavailable",
  });
  expect(await ledger.known([])).toEqual([]);
  expect(await rows.reserve(wire)).toMatchObject({ state: "reserved", attempt: 1 });
});

test("the sender is told the key, the deadline and when to stop", async () => {
  const ledger = new EffectLedger(new EffectsInMemory("thread"), never);
  const told = await ledger.perform(wire, async (context: EffectContext) => context);
  expect(told.idempotencyKey).toBe("thread:wire");
  expect(told.deadline.getTime() - Date.now()).toBeLessThanOrEqual(3_000);
  expect(told.signal.aborted).toBe(false);
});

test("a sender that has gone on past its deadline finds its signal aborted", async () => {
  const ledger = new EffectLedger(new EffectsInMemory("thread"), never);
  const sending = ledger.perform({ ...wire, timeoutMs: -1_900 }, async ({ signal }) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => resolve());
    await promise;
    signal.throwIfAborted();
  });
  await expect(sending).rejects.toSatisfy(isUnknown);
});

test("who asks the other side gets what the sender had", async () => {
  const ledger = new EffectLedger(new EffectsInMemory("thread"), never);
  const asked: ReconcileContext[] = [];
  const reconcile = async (context: ReconcileContext) => {
    asked.push(context);
    return { happened: true, result: 7 } as const;
  };
  expect(await ledger.perform({ ...wire, reconcile }, lost)).toBe(7);
  expect(asked).toMatchObject([{ idempotencyKey: "thread:wire" }]);
  expect(asked[0]!.dispatchedAt.getTime()).toBeLessThan(asked[0]!.deadline.getTime());
  expect(await ledger.perform(wire, lost)).toBe(7);
});

test("who says that nothing happened is believed once nothing can be sent any more, and not before", async () => {
  const ledger = new EffectLedger(new EffectsInMemory("thread"), never);
  let deadline = new Date(0);
  const reconcile = async (context: ReconcileContext) => {
    deadline = context.deadline;
    return { happened: false } as const;
  };
  const sent = ledger.perform({ ...wire, timeoutMs: -1_700, reconcile }, lost); // 300 ms with the margin
  await expect(sent).rejects.toThrow("socket closed");
  expect(deadline.getTime()).toBeGreaterThan(0);
  expect(Date.now()).toBeGreaterThanOrEqual(deadline.getTime());
});

test("an idempotent effect that failed may run again, and its error is thrown on", async () => {
  const ledger = new EffectLedger(new EffectsInMemory("thread"), never);
  const idempotent = { ...wire, kind: "idempotent" } as const;
  await expect(ledger.perform(idempotent, lost)).rejects.toThrow("socket closed");
  expect(await ledger.perform(idempotent, async () => 7)).toBe(7);
});

test("the failure that led to an unknown outcome is its cause", async () => {
  const ledger = new EffectLedger(new EffectsInMemory("thread"), never);
  await expect(ledger.perform(wire, lost)).rejects.toMatchObject({ cause: new Error("socket closed") });
  await expect(ledger.perform(wire, () => expect.unreachable())).rejects.toSatisfy(isUnknown);
});
