/**
 * Any order of steps, forks, rollbacks, copies and prunes, by two processes that do not know of each other: every
 * checkpoint that is kept reads back exactly what was put. So it is where keys are set and changed meanwhile.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { emptyCheckpoint, uuid6 } from "@langchain/langgraph-checkpoint";
import fc from "fast-check";
import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { encryptionOf, encryptWith } from "../../checkpoints/encryption.ts";
import { pruneSupersededWrites, pruneThread } from "../../checkpoints/prune.ts";
import { resealCopy } from "../../checkpoints/reseal.ts";
import { Saver } from "../../checkpoints/saver.ts";
import { copyThreadCheckpoints, deleteRunCheckpoints, deleteThreadCheckpoints } from "../../checkpoints/thread-data.ts";
import { createPool, transaction } from "../../db/pool.ts";
import { silent, type TestDatabase, testDatabase } from "../support/database.ts";
import { count, gather } from "./support.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db[Symbol.asyncDispose]());

type Values = Record<string, unknown>;
interface Stored {
  readonly id: string;
  readonly parent: string | undefined;
  readonly run: string;
  readonly values: Values;
  readonly versions: Record<string, number>;
  readonly metadata: object;
  /** What a task has written to it, if it has. */
  write?: { readonly run: string; readonly value: unknown } | undefined;
}

/** Long enough for its changes to be stored as changes. */
const BEGINNING = Array.from({ length: 50 }, (_, i) => `This was said before, as number ${i}. `.repeat(5));

/** A thread as it should be: its checkpoints in the order in which they were stored. */
interface Model {
  thread: string;
  stored: Stored[];
}

const text = fc.integer({ min: 0, max: 2_000 }).map((n) => `${n} said. `.repeat(n / 4));
const change = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("append" as const), text }) },
  fc.record({ kind: fc.constant("remove" as const), at: fc.nat() }),
  fc.record({ kind: fc.constant("edit" as const), at: fc.nat(), text }),
  fc.record({ kind: fc.constant("replace" as const), list: fc.array(text, { maxLength: 20 }) }),
  fc.record({ kind: fc.constant("clear" as const) }),
);
/** A channel that the library keeps null in while a node is due, and whether the checkpoint has a row that may be short. */
const form = fc.record({ trigger: fc.constantFrom("due", "carried", "done", "none"), short: fc.boolean() });
type Form = typeof form extends fc.Arbitrary<infer T> ? T : never;
const TRIGGER = "branch:to:next";
const operation = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: fc.constant("step" as const), by: fc.nat(1), change, form }) },
  fc.record({ op: fc.constant("load" as const), by: fc.nat(1), at: fc.nat() }),
  fc.record({ op: fc.constant("fork" as const), by: fc.nat(1), at: fc.nat(), change, form }),
  fc.record({ op: fc.constant("restart" as const), by: fc.nat(1) }),
  fc.record({ op: fc.constant("run" as const) }),
  fc.record({ op: fc.constant("rollback" as const), of: fc.nat() }),
  fc.record({ op: fc.constant("copy" as const) }),
  fc.record({ op: fc.constant("prune" as const), keep: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ op: fc.constant("prune writes" as const) }),
);
/** Keys are set, and then changed as operations.md says: each process has both. */
const [keyA, keyB] = [randomBytes(32), randomBytes(32)];
const rekey = fc.constantFrom([keyA, keyB], [keyB, keyA]).map((keys) => ({ op: "rekey" as const, keys }));
type Operation = typeof operation | typeof rekey extends fc.Arbitrary<infer T> ? T : never;
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

test("whatever happens to a thread, what is kept of it reads back as it was put", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 5, maxLength: 30 }), async (operations) => {
      await check(db.pool, operations);
    }),
    { numRuns: 40 },
  );
}, 120_000);

test("the same where keys are set and changed meanwhile", async () => {
  const operations = fc.array(fc.oneof({ weight: 8, arbitrary: operation }, rekey), { minLength: 5, maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(operations, async (each) => {
      const pool = createPool({ ...db.connection, max: 3, name: "model", log: silent });
      try {
        await check(pool, each);
      } finally {
        await pool.end();
      }
    }),
    { numRuns: 30 },
  );
}, 120_000);

async function check(pool: pg.Pool, operations: readonly Operation[]): Promise<void> {
  const savers = [new Saver(pool), new Saver(pool)];
  const model: Model = { thread: randomUUID(), stored: [] };
  let run = randomUUID();
  for (const each of operations) {
    if (each.op === "run") run = randomUUID();
    else if (each.op === "restart") savers[each.by] = new Saver(pool);
    else if (each.op === "step") await step(savers[each.by]!, model, { ...each, run, at: model.stored.length - 1 });
    else if (each.op === "fork") await step(savers[each.by]!, model, { ...each, run });
    else if (each.op === "load") await expectRead(savers[each.by]!, model, pick(model, each.at));
    else if (each.op === "rekey") {
      encryptWith(pool, each.keys);
      for (const i of savers.keys()) savers[i] = new Saver(pool);
    } else await onThread(pool, model, each);
  }
  await expectAsModelled(pool, model);
  for (const saver of savers) for (const stored of model.stored) await expectRead(saver, model, stored);
  await expectNoGarbage(pool, model);
}

async function step(
  saver: Saver,
  model: Model,
  { run, at, change: by, form: { trigger, short } }: { run: string; at: number; change: Change; form: Form },
): Promise<void> {
  const parent = pick(model, at);
  const said = changed((parent?.values["said"] as string[] | undefined) ?? BEGINNING, by);
  const written = said.at(-1) ?? "";
  const { configurable } = configOf(model, parent);
  const config = { configurable: { ...configurable, run_id: run } };
  if (parent) {
    await saver.putWrites(config, [["said", [written]]], "task");
    parent.write ??= { run, value: [written] }; // of several the first one counts
  }
  const values: Values = {
    said,
    text: `${(parent?.values["text"] as string | undefined) ?? ""}${written}`,
    files: { ...(parent?.values["files"] as object | undefined), [`f${said.length}`]: written },
    small: said.length,
  };
  if (trigger === "due") values[TRIGGER] = null;
  const fresh = [...Object.keys(values), ...(trigger === "done" ? [TRIGGER] : [])];
  const newVersions = Object.fromEntries(
    fresh.map((channel) => [channel, saver.getNextVersion(parent?.versions[channel])]),
  );
  // As of a graph that does not have the node: the version goes on, the value is not said.
  const carried = trigger === "carried" ? parent?.versions[TRIGGER] : undefined;
  const versions = { ...newVersions, ...(carried !== undefined && { [TRIGGER]: carried }) };
  const isNull = carried !== undefined && parent?.values[TRIGGER] === null;
  const checkpoint = { ...emptyCheckpoint(), id: uuid6(0), channel_values: values, channel_versions: versions };
  const metadata = { source: "loop", step: 1, parents: {}, ...(short && { thread_id: model.thread }) } as const;
  model.stored.push({
    id: checkpoint.id,
    parent: parent?.id,
    run,
    values: structuredClone({ ...values, ...(isNull && { [TRIGGER]: null }) }),
    versions,
    metadata: { ...metadata, run_id: run },
  });
  await saver.put(config, checkpoint, metadata, newVersions);
  said.push("changed in place afterwards");
}

function changed(list: readonly string[], by: Change): string[] {
  const at = "at" in by && list.length > 0 ? by.at % list.length : 0;
  if (by.kind === "append") return [...list, by.text];
  if (by.kind === "remove") return list.toSpliced(at, 1);
  if (by.kind === "edit") return list.toSpliced(at, 1, by.text);
  return by.kind === "replace" ? [...by.list] : [];
}

/** What is done to the thread as a whole, in the tables and in the model. */
async function onThread(pool: pg.Pool, model: Model, each: Operation): Promise<void> {
  const encryption = encryptionOf(pool);
  const within = <T>(work: (tx: Parameters<typeof pruneThread>[0]) => Promise<T>) => transaction(pool, work);
  const parents = new Set(model.stored.map(({ parent }) => parent));
  if (each.op === "rollback") {
    const run = pick(model, each.of)?.run ?? "";
    await within((tx) => deleteRunCheckpoints(tx, model.thread, run));
    model.stored = model.stored.filter((stored) => stored.run !== run);
    for (const stored of model.stored) if (stored.write?.run === run) stored.write = undefined;
  } else if (each.op === "copy") {
    const copy = randomUUID();
    await within(async (tx) => {
      await copyThreadCheckpoints(tx, model.thread, copy);
      if (encryption) await resealCopy(tx, encryption, { from: model.thread, to: copy });
      await deleteThreadCheckpoints(tx, model.thread);
    });
    model.thread = copy;
    model.stored = model.stored.map((stored) => ({
      ...stored,
      metadata: { ...stored.metadata, ...("thread_id" in stored.metadata && { thread_id: copy }) },
    }));
  } else if (each.op === "prune") {
    await within((tx) => pruneThread(tx, model.thread, { keep: each.keep, encryption }));
    model.stored = model.stored.filter(({ id }, i) => i >= model.stored.length - each.keep || !parents.has(id));
  } else if (each.op === "prune writes") {
    await within((tx) => pruneSupersededWrites(tx, model.thread));
    for (const stored of model.stored) if (parents.has(stored.id)) stored.write = undefined;
  }
}

function pick({ stored }: Model, at: number): Stored | undefined {
  return stored[at % Math.max(stored.length, 1)];
}

function configOf({ thread }: Model, stored: Stored | undefined) {
  return { configurable: { thread_id: thread, checkpoint_ns: "", ...(stored && { checkpoint_id: stored.id }) } };
}

/** Through a saver that knows some values, of this checkpoint or of others. */
async function expectRead(saver: Saver, model: Model, stored: Stored | undefined): Promise<void> {
  const tuple = await saver.getTuple(configOf(model, stored));
  expect(tuple?.checkpoint.id).toBe(stored?.id);
  expect(tuple?.checkpoint.channel_values).toEqual(stored?.values);
  expect(tuple?.pendingWrites?.map(([, , value]) => value)).toEqual(
    stored && (stored.write ? [stored.write.value] : []),
  );
}

async function expectAsModelled(pool: pg.Pool, model: Model): Promise<void> {
  const saver = new Saver(pool);
  const listed = await gather(saver.list({ configurable: { thread_id: model.thread } }));
  expect(listed.map(({ checkpoint }) => checkpoint.id)).toEqual(model.stored.map(({ id }) => id).toReversed());
  for (const [i, stored] of model.stored.toReversed().entries()) {
    for (const tuple of [listed[i], await saver.getTuple(configOf(model, stored))]) {
      expect(tuple?.checkpoint).toMatchObject({ channel_values: stored.values, channel_versions: stored.versions });
      expect(tuple?.checkpoint.channel_values).toEqual(stored.values);
      expect(tuple?.metadata).toEqual(stored.metadata);
      expect(tuple?.pendingWrites?.map(([, , value]) => value)).toEqual(stored.write ? [stored.write.value] : []);
    }
  }
  const newest = await saver.getTuple(configOf(model, undefined));
  expect(newest?.checkpoint.id).toBe(model.stored.at(-1)?.id);
}

/** After the last checkpoint has gone nothing is left, and after a prune of all but the newest only what that needs. */
async function expectNoGarbage(pool: pg.Pool, model: Model): Promise<void> {
  await onThread(pool, model, { op: "prune", keep: 1 });
  await expectAsModelled(pool, model);
  const { rows: unused } = await pool.query(
    `select i.hash from checkpoint_items i
      where i.thread_id = $1
        and i.hash not in (select unnest(items) from checkpoint_blobs where thread_id = $1
                            union all select unnest(items) from checkpoint_writes where thread_id = $1)`,
    [model.thread],
  );
  expect(unused).toEqual([]);
  const channels = 5;
  expect(await count(pool, "checkpoint_blobs", model.thread)).toBeLessThanOrEqual(channels * model.stored.length);
  while (model.stored.length > 0) await onThread(pool, model, { op: "rollback", of: 0 });
  for (const table of ["checkpoints", "checkpoint_blobs", "checkpoint_writes", "checkpoint_items"]) {
    expect(await count(pool, table, model.thread)).toBe(0);
  }
}
