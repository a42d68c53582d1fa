#!/usr/bin/env node
/**
 * What a step costs with Pawl's saver, beside the library's MemorySaver and the stock PostgresSaver on the same
 * Postgres: `node bench/saver.ts [--quick]`. All are measured in turns, so that a noisy neighbour hits all alike; the
 * ratios count, the absolute figures are the machine's.
 */
import { randomUUID } from "node:crypto";
import { parseArgs } from "node:util";
import { pruneSupersededWrites } from "../checkpoints/prune.ts";
import { transaction } from "../db/pool.ts";
import { createLog } from "../lib/log.ts";
import type { Goal } from "./goals.ts";
import { ascending, percentile } from "./load.ts";
import { fixed, goalTable, table } from "./report.ts";
import { atLeast, atMost } from "./saver-goals.ts";
import { history, human, steps, turn, TURN_MESSAGE } from "./saver-graphs.ts";
import { type Cost, type MeasuredSaver, openSavers, type SaverName, type Thread } from "./savers.ts";

const { values: options } = parseArgs({ options: { quick: { type: "boolean", default: false } } });
const ROUNDS = options.quick ? 5 : 15;
const STEPS = 10;
const PARALLEL = 40;
const TURNS = 200;
const LONG_RUN = 1_000;

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const median = (values: readonly number[]): number => percentile(ascending(values), 0.5);

const goals: Goal[] = [];
await using savers = await openSavers(createLog("warn"));
await warmUp();
for (const length of [10, 100, 1_000]) goals.push(...(await measureSteps(length)));
goals.push(...(await measureThroughput()));
goals.push(...(await measureGrowth()));
goals.push(...(await measureTurns()));
say(`\n${goalTable(goals)}`);

function run({ thread_id, saver }: Thread) {
  const configurable = { thread_id, run_id: randomUUID(), __pregel_checkpointer: saver };
  return { configurable, durability: "sync" as const, recursionLimit: 2 * LONG_RUN };
}

async function addMessages(thread: Thread, todo: number): Promise<void> {
  await steps.invoke({ todo }, run(thread));
}

async function warmUp(): Promise<void> {
  for (const each of savers.all) {
    for (let i = 0; i < 10; i += 1) await addMessages(await each.thread(), STEPS);
  }
}

/** A run of some steps on a thread with a history, its loading included, and reading the state afterwards. */
async function measureSteps(length: number): Promise<Goal[]> {
  const times = bySaver(() => ({ step: [] as number[], state: [] as number[] }));
  const costs = bySaver((): Cost[] => []);
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const each of savers.all) {
      const thread = await each.thread();
      await steps.invoke({ messages: history(length), todo: 1 }, run(thread));
      const before = await each.cost();
      times[each.name].step.push((await timed(() => addMessages(thread, STEPS))) / STEPS);
      costs[each.name].push(perStep(before, await each.cost(), STEPS));
      times[each.name].state.push(await timed(() => steps.getState(run(thread))));
    }
  }
  const memory = { step: median(times.memory.step), state: median(times.memory.state) };
  say(`\nHistory of ${length} messages; x = times MemorySaver`);
  say(
    table(
      ["saver", "ms/step", "x", "statements/step", "bytes sent/step", "WAL/step", "getState ms", "x"],
      savers.all.map(({ name }) => {
        const [step, state] = [median(times[name].step), median(times[name].state)];
        const of = (figure: (cost: Cost) => number): string => median(costs[name].map(figure)).toFixed(1);
        const cost = [of((c) => c.statements), of((c) => c.bytes), of((c) => c.wal)];
        return [
          name,
          fixed(step),
          (step / memory.step).toFixed(2),
          ...cost,
          fixed(state),
          (state / memory.state).toFixed(2),
        ];
      }),
    ),
  );
  return [
    atMost(2, { what: `${length} messages: a step, times MemorySaver's`, got: median(times.pawl.step) / memory.step }),
    atMost(1.5, {
      what: `${length} messages: getState, times MemorySaver's`,
      got: median(times.pawl.state) / memory.state,
    }),
  ];
}

/** Many threads at once. */
async function measureThroughput(): Promise<Goal[]> {
  const rates = bySaver((): number[] => []);
  for (let round = 0; round < Math.ceil(ROUNDS / 3); round += 1) {
    for (const each of savers.all) {
      const threads = await Promise.all(Array.from({ length: PARALLEL }, () => each.thread()));
      const time = await timed(() => Promise.all(threads.map((thread) => addMessages(thread, STEPS))));
      rates[each.name].push((PARALLEL * STEPS * 1_000) / time);
    }
  }
  say(`\n${PARALLEL} threads at once`);
  say(
    table(
      ["saver", "steps/s"],
      savers.all.map(({ name }) => [name, median(rates[name]).toFixed(0)]),
    ),
  );
  return [
    atLeast(2, {
      what: `steps/s with ${PARALLEL} threads, times stock`,
      got: median(rates.pawl) / median(rates.stock),
    }),
  ];
}

/** What one thread writes at its beginning, and later. */
async function measureGrowth(): Promise<Goal[]> {
  const pawl = saverOf("pawl");
  const thread = await pawl.thread();
  const marks: Cost[] = [];
  for (const upTo of [0, 100, 400, 500]) {
    if (upTo > 0) await addMessages(thread, upTo);
    marks.push(await pawl.cost());
  }
  const early = perStep(marks[0]!, marks[1]!, 100).wal;
  const late = perStep(marks[2]!, marks[3]!, 500).wal;
  say(
    `\nOne thread of ${LONG_RUN} steps: ${early.toFixed(0)} bytes of WAL for each of the steps 1 to 100, ${late.toFixed(0)} for 501 to ${LONG_RUN}`,
  );
  return [atMost(1.5, { what: "WAL of a step, 501 to 1,000 to 1 to 100", got: late / early })];
}

/** A conversation: a question and an answer of 1 KiB each, on a thread for each saver at the same time. */
async function measureTurns(): Promise<Goal[]> {
  const threads = new Map<MeasuredSaver, Thread>();
  for (const each of savers.all) {
    await each.pool?.query("truncate checkpoints, checkpoint_blobs, checkpoint_writes");
    threads.set(each, await each.thread());
  }
  const pawl = saverOf("pawl");
  await pawl.pool?.query("truncate checkpoint_items");
  const times = bySaver((): number[] => []);
  for (let i = 0; i < TURNS; i += 1) {
    for (const [each, thread] of threads) {
      times[each.name].push(await timed(() => turn.invoke({ messages: [human(TURN_MESSAGE)] }, run(thread))));
    }
  }
  const content = 2 * TURNS * TURN_MESSAGE;
  const growth = bySaver((name) => median(times[name].slice(-20)) / median(times[name].slice(0, 20)));
  const sizes = { stock: await sizeOf(saverOf("stock")), pawl: await sizeOf(pawl), pruned: 0 };
  const pruned = threads.get(pawl);
  if (pawl.pool && pruned) await transaction(pawl.pool, (tx) => pruneSupersededWrites(tx, pruned.thread_id));
  await pawl.pool?.query("vacuum full"); // what was deleted is to count as gone
  sizes.pruned = await sizeOf(pawl);
  say(`\n${TURNS} turns, a question and an answer of 1 KiB each; growth = the last 20 turns to the first 20`);
  say(
    table(
      ["saver", "ms first", "ms last", "growth", "MiB", "x content"],
      savers.all.map(({ name }) => {
        const size = name === "memory" ? undefined : sizes[name];
        return [
          name,
          ...[median(times[name].slice(0, 20)), median(times[name].slice(-20))].map(fixed),
          growth[name].toFixed(2),
          size === undefined ? "" : fixed(size / 1_048_576),
          size === undefined ? "" : (size / content).toFixed(2),
        ];
      }),
    ),
  );
  return [
    atMost(1.5, { what: "a turn at the end, times one at the beginning", got: growth.pawl }),
    atMost(4, { what: "storage, times the characters of the messages", got: sizes.pawl / content }),
    atMost(2.5, { what: "the same after pruning superseded writes", got: sizes.pruned / content }),
  ];
}

/** Bytes of all tables of checkpoints with their indexes. */
async function sizeOf({ pool }: MeasuredSaver): Promise<number> {
  const tables =
    "select oid from pg_class where relkind = 'r' and relname in ('checkpoints', 'checkpoint_blobs', 'checkpoint_writes', 'checkpoint_items')";
  const found = await pool?.query<{ size: string }>(
    `select sum(pg_total_relation_size(oid)) as size from (${tables}) t`,
  );
  return Number(found?.rows[0]?.size ?? 0);
}

function perStep(before: Cost, after: Cost, count: number): Cost {
  return {
    statements: (after.statements - before.statements) / count,
    bytes: (after.bytes - before.bytes) / count,
    wal: (after.wal - before.wal) / count,
  };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

function saverOf(name: SaverName): MeasuredSaver {
  const found = savers.all.find((each) => each.name === name);
  if (!found) throw new Error(`There is no saver ${name}`);
  return found;
}

function bySaver<T>(of: (name: SaverName) => T): Record<SaverName, T> {
  return { memory: of("memory"), stock: of("stock"), pawl: of("pawl") };
}
