/** Compressed texts and short rows: what comes back, from rows of before too, and what is refused. */
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { deflateRawSync } from "node:zlib";
import { AIMessage, HumanMessage } from "@langchain/core/messages";
import { MessagesAnnotation, StateGraph } from "@langchain/langgraph";
import { emptyCheckpoint, uuid6 } from "@langchain/langgraph-checkpoint";
import { PostgresSaver } from "@langchain/langgraph-checkpoint-postgres";
import fc from "fast-check";
import type pg from "pg";
import { expect, test, vi } from "vitest";
import { ofCheckpoints } from "../../checkpoints/abbreviations.ts";
import { DICTIONARY } from "../../checkpoints/dictionary.ts";
import { encryptionOf, encryptWith, type Place } from "../../checkpoints/encryption.ts";
import { pack, unpack } from "../../checkpoints/packed-text.ts";
import { pruneSupersededWrites, pruneThread } from "../../checkpoints/prune.ts";
import { resealCopy } from "../../checkpoints/reseal.ts";
import type { Saver } from "../../checkpoints/saver.ts";
import { columnsOf, wholeOf } from "../../checkpoints/short-rows.ts";
import { asSealed, itemPlace, versionPlace, writePlace } from "../../checkpoints/sealed-rows.ts";
import { copyThreadCheckpoints } from "../../checkpoints/thread-data.ts";
import type { Owner } from "../../db/fence.ts";
import { transaction } from "../../db/pool.ts";
import { testDatabase } from "../support/database.ts";
import { count, gather, newThread, runOn } from "./support.ts";

const prose = await readFile(new URL("../../docs/guarantees.md", import.meta.url), "utf8");

/** Answers with another passage. */
const talking = new StateGraph(MessagesAnnotation)
  .addNode("answer", ({ messages }) => ({ messages: [new AIMessage(passage(messages.length))] }))
  .addEdge("__start__", "answer")
  .compile();

function passage(n: number): string {
  return prose.slice(700 * n, 700 * n + 1_000);
}

async function talk(pool: pg.Pool, turns: number): Promise<Owner> {
  const owner = await newThread(pool);
  for (let i = 0; i < turns; i += 1) await say(pool, owner, passage(2 * i));
  return owner;
}

const key = randomBytes(32);

/** A run, which may take its input once. */
async function say(pool: pg.Pool, owner: Owner, text: string): Promise<void> {
  const { config } = runOn(pool, owner);
  await talking.invoke({ messages: [new HumanMessage(text)] }, { ...config, metadata: { mood: "calm" } });
}

async function saidIn(pool: pg.Pool, owner: Owner): Promise<unknown[]> {
  const { values } = await talking.getState(runOn(pool, owner).config);
  return (values as typeof MessagesAnnotation.State).messages.map(({ content }) => content);
}

/** As a process sees it that has just started: nothing is kept in memory. */
async function historyOf(pool: pg.Pool, thread_id: string): Promise<unknown> {
  vi.resetModules();
  const { Saver: FreshSaver } = await import("../../checkpoints/saver.ts");
  const fresh = await import("../../checkpoints/encryption.ts");
  if (encryptionOf(pool)) fresh.encryptWith(pool, [key]);
  const saver: Saver = new FreshSaver(pool);
  return JSON.parse(JSON.stringify(await gather(saver.list({ configurable: { thread_id } }))));
}

test("any text comes back, and takes no more than its UTF-8", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary" }).map((any) => JSON.stringify(any)),
    fc.string({ unit: fc.constantFrom("a", "é", "💡", "中", "\\u0000", "\n"), maxLength: 20_000 }),
    fc.uint8Array({ maxLength: 10_000 }).map((bytes) => Buffer.from(bytes).toString("base64")),
    fc.nat({ max: prose.length }).map((from) => prose.slice(from, from + 8_192)),
  );
  fc.assert(
    fc.property(text, (any) => {
      const packed = pack(any);
      expect(unpack(packed)).toBe(any);
      expect(packed.length).toBeLessThanOrEqual(Buffer.byteLength(any));
    }),
  );
  const large = "x".repeat(2_000_000);
  expect(unpack(pack(large))).toBe(large);
  expect(pack(prose.slice(0, 1_024)).length).toBeLessThan(0.65 * 1_024);
});

test("the dictionary is the one that rows were compressed with", () => {
  expect(createHash("sha256").update(DICTIONARY).digest("hex")).toBe(
    "79b7f634969481d8eb624e968bb243d8c5f00944b21218ef5528f76d526c76b8",
  );
});

test("a few bytes that would become much are refused, like those that are damaged or from another Pawl", () => {
  const deflated = (text: string) => deflateRawSync(text, { dictionary: DICTIONARY });
  const refused = expect.objectContaining({ code: "checkpoint_unreadable" });
  for (const bytes of [
    Buffer.concat([Buffer.of(0, 1), deflated("0".repeat(64 * 1_024 * 1_024))]),
    Buffer.concat([Buffer.of(0, 2), deflated(prose)]),
    pack(prose).subarray(0, 1_000),
    Buffer.of(0),
  ]) {
    expect(() => unpack(bytes)).toThrow(refused);
  }
});

test.each([["in clear"], ["encrypted"]])("a conversation is stored in fewer bytes than it has: %s", async (how) => {
  await using db = await testDatabase();
  if (how === "encrypted") encryptWith(db.pool, [key]);
  const owner = await talk(db.pool, 6);

  const { rows } = await db.pool.query<{ bytes: number }>(
    "select sum(length(item))::int as bytes from checkpoint_items where thread_id = $1",
    [owner.thread_id],
  );
  expect(rows[0]?.bytes).toBeLessThan(0.7 * 12 * 1_000);
  expect(await saidIn(db.pool, owner)).toEqual(Array.from({ length: 12 }, (_, i) => passage(i)));
});

/** Stores a thread again as it was stored before texts were compressed and rows were short. */
async function storeAsBefore(pool: pg.Pool, thread_id: string): Promise<void> {
  const encryption = encryptionOf(pool);
  const asBefore = (bytes: Buffer, place: Place): Buffer => {
    const text = unpack(encryption ? encryption.open(bytes, place) : bytes);
    return encryption ? encryption.seal(Buffer.from(text), place) : Buffer.from(text);
  };
  const items = await pool.query("select * from checkpoint_items where thread_id = $1", [thread_id]);
  for (const row of items.rows) {
    await pool.query("update checkpoint_items set item = $3 where thread_id = $1 and hash = $2", [
      thread_id,
      row.hash,
      asBefore(row.item, itemPlace(row)),
    ]);
  }
  for (const [table, placeOf] of [
    ["checkpoint_blobs", versionPlace],
    ["checkpoint_writes", writePlace],
  ] as const) {
    const { rows } = await pool.query(`select ctid, * from ${table} where thread_id = $1 and type like '%chunks'`, [
      thread_id,
    ]);
    for (const row of rows) {
      const place = placeOf(encryption ? asSealed(row) : row);
      await pool.query(`update ${table} set blob = $2 where ctid = $1`, [row.ctid, asBefore(row.blob, place)]);
    }
  }
}

/** The checkpoints of a thread as they were stored before there were short rows, or before these were shorter. */
async function storeRowsAsBefore(pool: pg.Pool, thread_id: string, form: "whole" | "short"): Promise<void> {
  const { rows } = await pool.query("select * from checkpoints where thread_id = $1 and rest is not null", [thread_id]);
  expect(rows.length).toBeGreaterThan(0);
  for (const row of rows) {
    const { checkpoint, metadata, nulls } = wholeOf<{ channel_versions: Record<string, number> }>(row);
    for (const channel of nulls) {
      await pool.query(
        `insert into checkpoint_blobs (thread_id, channel, version, type, blob) values ($1, $2, $3, 'json', 'null')
             on conflict do nothing`,
        [thread_id, channel, String(checkpoint.channel_versions[channel])],
      );
    }
    const { id: _, channel_versions, ...rest } = checkpoint as typeof checkpoint & { id: string };
    const { parents: __, thread_id: ___, ...others } = metadata;
    await pool.query("update checkpoints set checkpoint = $2, metadata = $3, rest = $4, type = null where seq = $1", [
      row.seq,
      form === "whole" ? checkpoint : { v: "", channel_versions },
      form === "whole" ? metadata : others,
      form === "whole" ? null : pack(ofCheckpoints.abbreviate(JSON.stringify(rest))),
    ]);
  }
}

test.each([
  ["whole", "in clear"],
  ["whole", "encrypted"],
  ["short", "in clear"],
  ["short", "encrypted"],
] as const)("rows of before are read, and a conversation goes on upon them: %s, %s", async (form, how) => {
  await using db = await testDatabase();
  if (how === "encrypted") encryptWith(db.pool, [key]);
  const owner = await talk(db.pool, 3);
  const before = await historyOf(db.pool, owner.thread_id);

  if (form === "whole") await storeAsBefore(db.pool, owner.thread_id);
  await storeRowsAsBefore(db.pool, owner.thread_id, form);
  expect(await historyOf(db.pool, owner.thread_id)).toEqual(before);
  await say(db.pool, owner, "Go on. ".repeat(100));
  expect(await historyOf(db.pool, owner.thread_id)).toEqual(expect.arrayContaining(before as unknown[]));
  expect(await saidIn(db.pool, owner)).toHaveLength(8);
  const calm = { filter: { parents: {}, thread_id: owner.thread_id, ls_integration: "langgraph" } };
  expect(await gather(runOn(db.pool, owner).saver.list(runOn(db.pool, owner).config, calm))).toHaveLength(12);
});

test.each([["in clear"], ["encrypted"]])("a copy is the same, of its own thread, also pruned: %s", async (how) => {
  await using db = await testDatabase();
  if (how === "encrypted") encryptWith(db.pool, [key]);
  const owner = await talk(db.pool, 6);
  const encryption = encryptionOf(db.pool);
  const copy = randomUUID();

  await transaction(db.pool, async (tx) => {
    await copyThreadCheckpoints(tx, owner.thread_id, copy);
    if (encryption) await resealCopy(tx, encryption, { from: owner.thread_id, to: copy });
  });
  const original = JSON.stringify(await historyOf(db.pool, owner.thread_id));
  expect(await historyOf(db.pool, copy)).toEqual(JSON.parse(original.replaceAll(owner.thread_id, copy)));

  await transaction(db.pool, (tx) => pruneSupersededWrites(tx, copy));
  await transaction(db.pool, (tx) => pruneThread(tx, copy, { keep: 1, encryption }));
  const [newest] = JSON.parse(original.replaceAll(owner.thread_id, copy)) as [
    { checkpoint: unknown; metadata: unknown },
  ];
  expect(await historyOf(db.pool, copy)).toMatchObject([{ checkpoint: newest.checkpoint, metadata: newest.metadata }]);
  expect(await count(db.pool, "checkpoint_items", copy)).toBe(12);
});

test("a row is short only where the stock saver cannot read the checkpoint, and that one refuses it", async () => {
  await using db = await testDatabase();
  const long = await talk(db.pool, 1);
  const small = await newThread(db.pool);
  await talking.invoke({ messages: [] }, runOn(db.pool, small).config).catch(() => undefined);
  const isShort = async (threadId: string): Promise<boolean[]> => {
    const { rows } = await db.pool.query<{ short: boolean }>(
      "select rest is not null as short from checkpoints where thread_id = $1 order by seq",
      [threadId],
    );
    return rows.map(({ short }) => short);
  };

  expect(await isShort(long.thread_id)).toEqual([true, true, true]);
  expect((await isShort(small.thread_id))[0]).toBe(false);
  const stock = new PostgresSaver(db.pool);
  await expect(stock.getTuple({ configurable: { thread_id: long.thread_id } })).rejects.toThrow(
    /cannot call jsonb_each_text on a non-object/,
  );
});

test("a Pawl from before fails at a short row, since it would take what is not there for empty", async () => {
  await using db = await testDatabase();
  await talk(db.pool, 1);

  // What its statements ask of each checkpoint that they read, or look for what is not used any more in.
  const asked = db.pool.query("select jsonb_each_text(checkpoint -> 'channel_versions') from checkpoints");

  await expect(asked).rejects.toThrow(/cannot call jsonb_each_text on a non-object/);
});

test("a short row says all that its checkpoint says", () => {
  const time = fc.date({ noInvalidDate: true }).map((date) => date.toISOString());
  const thread = { thread_id: "thread" };
  const versions = fc.dictionary(fc.oneof(fc.string(), fc.constantFrom("__start__", "branch:to:a")), fc.nat());
  const others = fc.dictionary(fc.string(), fc.jsonValue());
  fc.assert(
    fc.property(
      fc.record({
        id: fc.oneof(fc.uuid({ version: 6 }), fc.string(), fc.constant(uuid6(0))),
        ts: fc.oneof(time, fc.string(), fc.constant(new Date().toISOString())),
        channel_versions: versions,
        versions_seen: fc.dictionary(fc.string(), versions),
      }),
      fc.record({ parents: others, others, integration: fc.constantFrom(undefined, null, "langgraph", "another") }),
      fc.array(fc.constantFrom("branch:to:a", "__start__")),
      (checkpoint, { parents, others: more, integration }, nulls) => {
        const at = { ...thread, checkpoint_id: checkpoint.id };
        const whole = {
          checkpoint: { v: 4, ...checkpoint },
          metadata: { ...more, ...(integration !== undefined && { ls_integration: integration }), parents, ...thread },
        };
        const columns = columnsOf(at, whole, { inPieces: true, nulls: new Set(nulls) });
        const { rest, ...stored } = columns;
        expect(rest).not.toBeNull();
        const said = wholeOf({
          ...at,
          ...(JSON.parse(JSON.stringify(stored)) as typeof stored & { checkpoint: { channel_versions: unknown } }),
          rest,
        });
        expect(said).toEqual({
          ...(JSON.parse(JSON.stringify(whole)) as object),
          nulls: new Set(nulls.filter((channel) => Object.hasOwn(checkpoint.channel_versions, channel))),
        });
      },
    ),
  );
});

/** Stores a checkpoint with new versions, and with others that it carries on without their values. */
async function put(
  { saver, config }: ReturnType<typeof runOn>,
  values: Record<string, unknown>,
  { newVersions, others }: { newVersions: Record<string, number>; others?: Record<string, number> },
): Promise<void> {
  const versions = { ...others, ...newVersions };
  const checkpoint = { ...emptyCheckpoint(), id: uuid6(0), channel_values: values, channel_versions: versions };
  const metadata = { source: "loop", step: 1, parents: {}, thread_id: config.configurable.thread_id } as const;
  await saver.put(config, checkpoint, metadata, newVersions);
}

/** Rows of values of the channel that says that the node is due. */
async function triggerRows(pool: pg.Pool, { thread_id }: Owner): Promise<string[]> {
  const { rows } = await pool.query<{ type: string }>(
    "select type from checkpoint_blobs where thread_id = $1 and channel = 'branch:to:answer'",
    [thread_id],
  );
  return rows.map(({ type }) => type);
}

test("that a node is due takes a row of its own only where values are encrypted", async () => {
  await using db = await testDatabase();
  expect(await triggerRows(db.pool, await talk(db.pool, 2))).toEqual([]);

  encryptWith(db.pool, [key]);
  expect(await triggerRows(db.pool, await talk(db.pool, 2))).toEqual(["sealed:json", "sealed:json"]);
});

test("the stock saver reads that a node is due where nothing else keeps it from reading, whoever stored it first", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const due = { "branch:to:answer": 1.25 };
  const run = runOn(db.pool, owner);
  await put(run, { said: [passage(0)], "branch:to:answer": null }, { newVersions: { said: 1.25, ...due } });
  expect(await triggerRows(db.pool, owner)).toEqual([]);

  await put(run, { said: [] }, { newVersions: { said: 2.25 }, others: due });

  const read = await new PostgresSaver(db.pool).getTuple({ configurable: { thread_id: owner.thread_id } });
  expect(read?.checkpoint.channel_values).toEqual({ said: [], "branch:to:answer": null });
});

test("checkpoints are found by what their metadata says, also by what a short row leaves out", async () => {
  await using db = await testDatabase();
  const owner = await talk(db.pool, 2);
  const { saver, config } = runOn(db.pool, owner);
  const found = (filter: Record<string, unknown>) => gather(saver.list(config, { filter }));

  expect(await found({ thread_id: owner.thread_id, mood: "calm" })).toHaveLength(6);
  expect(await found({ thread_id: owner.thread_id, source: "input", parents: {} })).toHaveLength(2);
  expect(await found({ thread_id: randomUUID() })).toHaveLength(0);
  expect((await found({ step: 1 }))[0]?.metadata).toMatchObject({ step: 1, thread_id: owner.thread_id, mood: "calm" });
  await put(runOn(db.pool, owner), { said: [passage(0)] }, { newVersions: { said: 1.25 } });
  expect(await found({ ls_integration: "langgraph" })).toHaveLength(6);
});
