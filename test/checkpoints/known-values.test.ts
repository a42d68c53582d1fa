/** A state is read without the values that this process knows already, and is always the stored one. */
import { randomUUID } from "node:crypto";
import { AIMessage } from "@langchain/core/messages";
import { emptyCheckpoint, uuid6 } from "@langchain/langgraph-checkpoint";
import { PostgresSaver } from "@langchain/langgraph-checkpoint-postgres";
import type pg from "pg";
import { expect, test } from "vitest";
import { shareVersions } from "../../checkpoints/known-versions.ts";
import { Saver } from "../../checkpoints/saver.ts";
import { repeatable } from "../../db/retry.ts";
import { createPool } from "../../db/pool.ts";
import { silent, testDatabase } from "../support/database.ts";
import { asking, newThread, runOn } from "./support.ts";

const metadata = { source: "loop", step: 1, parents: {} } as const;
const long = (n: number) => `This is what was said as number ${n}. `.repeat(10);
const conversation = (length: number) => Array.from({ length }, (_, i) => long(i));

type Config = { configurable: { thread_id: string; checkpoint_ns: string } };
const newConfig = (): Config => ({ configurable: { thread_id: randomUUID(), checkpoint_ns: "" } });

/** Puts a checkpoint whose values are all new. */
async function put(saver: Saver | PostgresSaver, config: Config, values: Record<string, unknown>) {
  const version = saver.getNextVersion(undefined);
  const versions = Object.fromEntries(Object.keys(values).map((channel) => [channel, version]));
  const checkpoint = { ...emptyCheckpoint(), id: uuid6(0), channel_values: values, channel_versions: versions };
  return saver.put(config, checkpoint, metadata, versions);
}

const valuesOf = async (saver: Saver, config: Config) => (await saver.getTuple(config))?.checkpoint.channel_values;

/** What a whole read needs is not there any more: only who knows the values still answers. */
async function loseValues(pool: pg.Pool): Promise<void> {
  await pool.query("delete from checkpoint_items");
}

test("a process reads the values that it wrote or read last from its memory, on all of its pools", async () => {
  await using db = await testDatabase();
  await using pools = new AsyncDisposableStack();
  const [other, stranger] = [1, 2].map((max) => createPool({ ...db.connection, max, name: "other", log: silent }));
  for (const pool of [other!, stranger!]) pools.defer(() => pool.end());
  shareVersions([db.pool, other!]);
  const config = newConfig();
  const values = { said: conversation(20), count: 20, nothing: null };
  await put(new Saver(repeatable(db.pool)), config, values);
  await loseValues(db.pool);

  expect(await valuesOf(new Saver(other!), config)).toEqual(values);
  await expect(new Saver(stranger!).getTuple(config)).rejects.toThrow(/is not stored/);
});

test("what another process stored since is what is read", async () => {
  await using db = await testDatabase();
  const [here, there] = [new Saver(db.pool), new Saver(db.pool)];
  const config = newConfig();
  await put(here, config, { said: conversation(20), other: "here" });
  await valuesOf(there, config);
  await put(there, config, { said: conversation(21) });

  expect(await valuesOf(here, config)).toEqual({ said: conversation(21) });
  expect(await valuesOf(there, config)).toEqual({ said: conversation(21) });
});

test("a value that was cleared is not read as the one before", async () => {
  await using db = await testDatabase();
  const saver = new Saver(db.pool);
  const config = newConfig();
  await put(saver, config, { said: conversation(20) });
  const version = saver.getNextVersion(undefined);
  const cleared = { ...emptyCheckpoint(), id: uuid6(0), channel_values: {}, channel_versions: { said: version } };
  await saver.put(config, cleared, metadata, { said: version });

  for (const each of [saver, new Saver(db.pool)]) expect(await valuesOf(each, config)).toEqual({});
});

test("bytes that somebody changes after they were stored or read are read as they were stored", async () => {
  await using db = await testDatabase();
  const saver = new Saver(db.pool);
  const config = newConfig();
  const bytes = new Uint8Array([1, 2, 3]);
  await put(saver, config, { bytes });
  bytes[0] = 9;
  const read = (await valuesOf(saver, config)) as { bytes: Uint8Array };
  expect(read.bytes).toEqual(Buffer.from([1, 2, 3]));
  read.bytes[0] = 9;

  expect(await valuesOf(saver, config)).toEqual({ bytes: Buffer.from([1, 2, 3]) });
});

test("what somebody does to a state that was read does not show in the next read", async () => {
  await using db = await testDatabase();
  const saver = new Saver(db.pool);
  const config = newConfig();
  await put(saver, config, { said: conversation(3), small: { list: [1] } });
  const read = (await valuesOf(saver, config)) as { said: string[]; small: { list: number[] } };
  read.said.push("more");
  read.small.list.push(2);

  expect(await valuesOf(saver, config)).toEqual({ said: conversation(3), small: { list: [1] } });
});

test("what somebody does in place to messages that were read is stored with the next version, and not before", async () => {
  await using db = await testDatabase();
  const saver = new Saver(db.pool);
  const config = newConfig();
  const shown = async (by: Saver) => JSON.stringify(await valuesOf(by, config));
  await put(saver, config, {
    messages: conversation(5).map((content) => new AIMessage({ content, additional_kwargs: { seen: [1] } })),
  });
  const before = await shown(new Saver(db.pool));
  const read = (await valuesOf(saver, config)) as { messages: AIMessage[] };
  read.messages[1]!.content = "edited";
  (read.messages[3]!.additional_kwargs["seen"] as number[]).push(2);

  for (const each of [saver, new Saver(db.pool)]) expect(await shown(each)).toBe(before);
  await put(saver, config, read);
  for (const each of [saver, new Saver(db.pool)]) expect(await shown(each)).toBe(JSON.stringify(read));
});

test("versions that count 1, 2, 3 in each branch are not taken for each other", async () => {
  await using db = await testDatabase();
  const saver = new Saver(db.pool);
  const config = newConfig();
  const stock = new PostgresSaver(db.pool);
  await put(stock, config, { said: "first" });
  await valuesOf(saver, config);
  await db.pool.query("delete from checkpoints");
  await db.pool.query("delete from checkpoint_blobs");
  await put(stock, config, { said: "second" });

  expect(await valuesOf(saver, config)).toEqual({ said: "second" });
});

test("questions, answers and what tasks wrote come with values that are known", async () => {
  await using db = await testDatabase();
  const { saver, config } = runOn(db.pool, await newThread(db.pool));
  const at = { configurable: { thread_id: config.configurable.thread_id } };
  await asking("sure?").invoke({ said: conversation(3) }, config);
  const expected = await new Saver(db.pool).getTuple(at);
  expect(expected?.pendingWrites?.length).toBeGreaterThan(0);

  expect(await saver.getTuple(at)).toEqual(expected);
  const place = { configurable: { ...config.configurable, ...expected?.config.configurable } };
  await saver.putWrites(place, [["said", conversation(4)]], "another task");
  expect(await saver.getTuple(at)).toEqual(await new Saver(db.pool).getTuple(at));
});
