import type { RunnableConfig } from "@langchain/core/runnables";
import { emptyCheckpoint, uuid6 } from "@langchain/langgraph-checkpoint";
import { expect, test, vi } from "vitest";
import { Saver } from "../../checkpoints/saver.ts";
import { testDatabase } from "../support/database.ts";
import { gather } from "./support.ts";

/** Stores checkpoints one after the other; their ids, oldest first. */
async function store(saver: Saver, thread_id: string, count: number): Promise<string[]> {
  const ids: string[] = [];
  let config: RunnableConfig = { configurable: { thread_id, checkpoint_ns: "" } };
  for (let step = 0; step < count; step++) {
    const values = { step };
    const versions = { step: saver.getNextVersion(step) };
    const checkpoint = { ...emptyCheckpoint(), id: uuid6(0), channel_values: values, channel_versions: versions };
    config = await saver.put(config, checkpoint, { source: "loop", step, parents: {} }, versions);
    ids.push(checkpoint.id);
  }
  return ids;
}

const idsOf = async (saver: Saver, ...of: Parameters<Saver["list"]>): Promise<string[]> =>
  (await gather(saver.list(...of))).map(({ checkpoint }) => checkpoint.id);

test("a long history is listed newest first, each checkpoint once, with its values", async () => {
  await using db = await testDatabase();
  const saver = new Saver(db.pool);
  const ids = await store(saver, "t", 60);

  const listed = await gather(saver.list({ configurable: { thread_id: "t" } }));

  expect(listed.map(({ checkpoint }) => checkpoint.id)).toEqual(ids.toReversed());
  expect(listed.map(({ checkpoint }) => checkpoint.channel_values["step"])).toEqual([...ids.keys()].toReversed());
});

test.each([0, 1, 24, 25, 26, 50, 59, 60, 61])(
  "a limit of %i gives so many, after the one it begins before",
  async (limit) => {
    await using db = await testDatabase();
    const saver = new Saver(db.pool);
    const ids = await store(saver, "t", 61);
    const before = { configurable: { checkpoint_id: ids[60] } };

    expect(await idsOf(saver, { configurable: { thread_id: "t" } }, { limit, before })).toEqual(
      ids.slice(0, 60).toReversed().slice(0, limit),
    );
  },
);

test("who stops early has not read the rest", async () => {
  await using db = await testDatabase();
  const saver = new Saver(db.pool);
  await store(saver, "t", 60);
  const query = vi.spyOn(db.pool, "query");

  for await (const _ of saver.list({ configurable: { thread_id: "t" } })) break;

  expect(query).toHaveBeenCalledOnce();
});

test("what is stored or removed while a list is read moves nothing in it", async () => {
  await using db = await testDatabase();
  const saver = new Saver(db.pool);
  const ids = await store(saver, "t", 60);
  const listed: string[] = [];

  for await (const { checkpoint } of saver.list({ configurable: { thread_id: "t" } })) {
    listed.push(checkpoint.id);
    if (listed.length % 25 === 0) {
      await store(saver, "t", 3);
      await db.pool.query("delete from checkpoints where checkpoint_id = $1", [checkpoint.id]);
    }
  }

  expect(listed).toEqual(ids.toReversed());
});

test("before a checkpoint that is not stored come those whose ids are lower", async () => {
  await using db = await testDatabase();
  const saver = new Saver(db.pool);
  const ids = await store(saver, "t", 4);
  await db.pool.query("delete from checkpoints where checkpoint_id = $1", [ids[2]]);
  const before = { configurable: { checkpoint_id: ids[2] } };

  expect(await idsOf(saver, { configurable: { thread_id: "t" } }, { before })).toEqual([ids[1], ids[0]]);
});
