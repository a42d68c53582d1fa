/**
 * What a thread's row says about its newest state, under a key. Values and questions are of one moment, so they are sealed
 * together: a list in `interrupts`, which in clear is an object, and nothing in `values`, which may be any JSON. Behind
 * what is sealed the list has what Postgres looks for: which questions are about which effect.
 */
import { z } from "zod";
import type { Encryption, Place } from "../../checkpoints/encryption.ts";
import { movedText, openText, readJson, sealText } from "../../checkpoints/sealed-text.ts";
import type { Queryable } from "../../db/pool.ts";
import { EFFECT_QUESTION } from "../effects/list.ts";
import { openedOrWhy, type Unreadable } from "../sealed-columns.ts";

interface StateOfThread {
  /** JSON; undefined for none. */
  readonly values?: unknown;
  /** As `ThreadInterrupts`; of an import as it came. */
  readonly interrupts: Readonly<Record<string, unknown>>;
}

/** JSON texts for the columns. */
interface StoredState {
  readonly values: string | null;
  readonly interrupts: string;
}

const statePlace = (threadId: string): Place => ({ threadId, row: ["thread state"] });
export const threadErrorPlace = (threadId: string): Place => ({ threadId, row: ["thread error"] });

export function storedState(
  encryption: Encryption | undefined,
  threadId: string,
  { values, interrupts }: StateOfThread,
): StoredState {
  if (!encryption) {
    return { values: values === undefined ? null : JSON.stringify(values), interrupts: JSON.stringify(interrupts) };
  }
  const sealed = sealText(encryption, JSON.stringify({ values, interrupts }), statePlace(threadId));
  return { values: null, interrupts: JSON.stringify([sealed, aboutEffects(interrupts)]) };
}

interface ThreadRow {
  readonly thread_id: string;
  readonly values?: unknown;
  readonly interrupts?: unknown;
  readonly error?: unknown;
}

/** A row of `threads` in clear, or some of its columns: `values` come from `interrupts`. Throws `checkpoint_unreadable`. */
export function openThread<T extends ThreadRow>(encryption: Encryption | undefined, row: T): T {
  return { ...row, ...openState(encryption, row), ...openError(encryption, row) };
}

/** The same for the row of a list: without what cannot be opened, and with the reason. */
export function openListedThread<T extends ThreadRow>(
  encryption: Encryption | undefined,
  row: T,
): Partial<T> & Partial<Unreadable> {
  const { values: _values, interrupts: _interrupts, error: _error, ...inClear } = row;
  return {
    ...(inClear as Partial<T>),
    ...openedOrWhy(() => openError(encryption, row)),
    ...openedOrWhy(() => openState(encryption, row)),
  };
}

function openState(
  encryption: Encryption | undefined,
  { thread_id, values, interrupts }: ThreadRow,
): Pick<ThreadRow, "values" | "interrupts"> {
  const sealed = sealedPart(interrupts);
  if (sealed !== undefined) return JSON.parse(openText(encryption, sealed, statePlace(thread_id)));
  return { ...(values !== undefined && { values }), ...(interrupts !== undefined && { interrupts }) };
}

function openError(encryption: Encryption | undefined, { thread_id, error }: ThreadRow): Pick<ThreadRow, "error"> {
  return error === undefined ? {} : { error: readJson(encryption, error, threadErrorPlace(thread_id)) };
}

/** Makes the row of a copied thread its own; in the transaction that copied it. */
export async function resealThread(tx: Queryable, encryption: Encryption, copied: { from: string; to: string }) {
  const { rows } = await tx.query<{ interrupts: unknown }>({
    name: "sealed-state",
    text: "select interrupts from threads where thread_id = $1",
    values: [copied.to],
  });
  const stored = rows[0]?.interrupts;
  const sealed = sealedPart(stored);
  if (sealed === undefined) return;
  const places = { from: statePlace(copied.from), to: statePlace(copied.to) };
  const [, ...others] = stored as unknown[];
  await tx.query({
    name: "reseal-state",
    text: "update threads set interrupts = $2 where thread_id = $1",
    values: [copied.to, JSON.stringify([movedText(encryption, sealed, places), ...others])],
  });
}

function sealedPart(interrupts: unknown): string | undefined {
  return Array.isArray(interrupts) ? String(interrupts[0]) : undefined;
}

/** Ids only. As questions in clear would have them, so that one query finds either. */
function aboutEffects(interrupts: StateOfThread["interrupts"]): Record<string, unknown> {
  const tasks = Object.entries(interrupts).map(([task, questions]) => {
    const about = [questions].flat().flatMap((question) => AboutEffect.safeParse(question).data ?? []);
    return [task, about] as const;
  });
  return Object.fromEntries(tasks.filter(([, about]) => about.length > 0));
}

const AboutEffect = z.object({
  id: z.string(),
  value: z.object({ kind: z.literal(EFFECT_QUESTION), idempotency_key: z.string() }),
});
