import { randomBytes, randomUUID } from "node:crypto";
import { AIMessage } from "@langchain/core/messages";
import { interrupt, MessagesDeltaValue, StateGraph, StateSchema } from "@langchain/langgraph";
import fc from "fast-check";
import type pg from "pg";
import { expect, test } from "vitest";
import { Encryption, encryptWith } from "../../checkpoints/encryption.ts";
import { registerKeys } from "../../checkpoints/encryption-keys.ts";
import { FilesInPostgres } from "../../checkpoints/files.ts";
import { pendingQuestions } from "../../checkpoints/questions.ts";
import { pruneThread } from "../../checkpoints/prune.ts";
import { resealCopy } from "../../checkpoints/reseal.ts";
import {
  openItem,
  openRow,
  sealCheckpoint,
  sealWrites,
  versionPlace,
  writePlace,
} from "../../checkpoints/sealed-rows.ts";
import { Saver } from "../../checkpoints/saver.ts";
import { copyThreadCheckpoints } from "../../checkpoints/thread-data.ts";
import { withSaver } from "../../runs/with-saver.ts";
import { createPool, transaction } from "../../db/pool.ts";
import { silent, testDatabase } from "../support/database.ts";
import { gather, newThread, putList, runOn, saying } from "./support.ts";

const [keyA, keyB] = [randomBytes(32), randomBytes(32)];
const SECRET = "the launch code is 0000 ".repeat(40);

const Said = new StateSchema({ messages: MessagesDeltaValue });

/** Says something long, then asks something that nobody else may read. */
const telling = new StateGraph(Said)
  .addNode("say", () => ({ messages: [new AIMessage(SECRET)] }))
  .addNode("ask", () => ({ messages: [new AIMessage(String(interrupt(SECRET)))] }))
  .addEdge("__start__", "say")
  .addEdge("say", "ask")
  .compile();

/** What the tables of the saver hold, as whoever reads the disk sees it. */
async function stored(pool: pg.Pool): Promise<string> {
  const { rows } = await pool.query<{ bytes: Buffer }>(
    "select blob as bytes from checkpoint_blobs union all select blob from checkpoint_writes union all select item from checkpoint_items",
  );
  expect(rows.length).toBeGreaterThan(0);
  return rows.map(({ bytes }) => bytes.toString("latin1")).join("\n");
}

const history = async (pool: pg.Pool, thread_id: string) =>
  JSON.stringify(await gather(new Saver(pool).list({ configurable: { thread_id } })));

test("what is sealed comes back in its own place, and in no other, and not when a bit of it changes", () => {
  const encryption = new Encryption([keyA]);
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 64 }),
      fc.tuple(fc.string(), fc.string()),
      fc.nat(),
      (bytes, [here, there], bit) => {
        const place = { threadId: "t", row: ["version", here] };
        const sealed = encryption.seal(bytes, place);
        expect(encryption.open(sealed, place)).toEqual(Buffer.from(bytes));
        const refused = { code: "checkpoint_unreadable" };
        const attempt = (at: Buffer, threadId: string, row: string[]) => {
          try {
            return encryption.open(at, { threadId, row });
          } catch (error) {
            return error;
          }
        };
        if (there !== here) expect(attempt(sealed, "t", ["version", there])).toMatchObject(refused);
        expect(attempt(sealed, "u", ["version", here])).toMatchObject(refused);
        expect(attempt(sealed, "t", ["write", here])).toMatchObject(refused);
        const flipped = Buffer.from(sealed);
        const at = bit % (8 * flipped.length);
        flipped[at >> 3] = (flipped[at >> 3] ?? 0) ^ (1 << (at & 7));
        expect(attempt(flipped, "t", ["version", here])).toMatchObject(refused);
      },
    ),
  );
});

/** A delta with an item, and a write with one: rows as the tables hold them, and what opens them. */
function sealedRows() {
  const encryption = new Encryption([keyA]);
  const hash = randomUUID().replaceAll("-", "");
  const value = { type: "chunks", blob: Buffer.from("clear"), items: [hash] };
  const items = [{ hash, item: Buffer.from("clear") }];
  const at = { thread_id: "t", checkpoint_ns: "n", checkpoint_id: "c", task_id: "k" };
  const delta = { channel: "a", version: "2.1", needs: "1.1", delta: { head: 1, tail: 1 } };
  const checkpoint = sealCheckpoint(encryption, at, { values: [{ ...value, ...delta }], items });
  const [version] = checkpoint.values;
  const [item] = checkpoint.items;
  const [write] = sealWrites(encryption, at, { writes: [{ ...value, idx: 0, channel: "a" }], items }).writes;
  const opened = {
    version: { ...at, ...version!, base_version: "1.1", ...delta.delta, blob: Buffer.from(version!.blob) },
    write: { ...at, ...write!, blob: Buffer.from(write!.blob) },
    item: { thread_id: "t", hash: item!.hash, blob: Buffer.from(item!.item) },
  };
  return {
    version: {
      ...opened.version,
      open: (as: object) => openRow(encryption, { ...opened.version, ...as }, versionPlace),
    },
    write: { ...opened.write, open: (as: object) => openRow(encryption, { ...opened.write, ...as }, writePlace) },
    item: { ...opened.item, open: (as: object) => openItem(encryption, { ...opened.item, ...as }) },
  };
}

test.each([
  ["version", ["thread_id", "checkpoint_ns", "channel", "version", "type", "items", "base_version", "head", "tail"]],
  ["write", ["thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx", "channel", "type", "items"]],
  ["item", ["thread_id", "hash"]],
] as const)("the row of a %s is opened as it is, and refused with another %j", (kind, columns) => {
  const { open, ...row } = sealedRows()[kind];
  const another = (was: unknown) => {
    if (typeof was === "number") return was + 1;
    return Array.isArray(was) ? [randomUUID()] : `${String(was)}0`;
  };
  expect(open({}).blob.toString()).toBe("clear");
  for (const [column, was] of Object.entries(row).filter(([name]) => columns.some((each) => each === name))) {
    const changed = { [column]: column === "hash" ? randomUUID() : another(was) };
    expect(() => open(changed), column).toThrow(expect.objectContaining({ code: "checkpoint_unreadable" }));
  }
  expect(Object.keys(row)).toEqual(expect.arrayContaining([...columns]));
});

test("with a key nothing of a state, a write or a question lies in clear, and all of it is read", async () => {
  await using db = await testDatabase();
  encryptWith(db.pool, [keyA]);
  const owner = await newThread(db.pool);
  const { config, saver } = runOn(db.pool, owner);

  await telling.invoke({ messages: [] }, config);

  expect(await stored(db.pool)).not.toMatch(/launch|AIMessage|messages/);
  const { values } = await withSaver(telling, saver).getState(config);
  expect(values).toMatchObject({ messages: [{ content: SECRET }] });
  expect(await pendingQuestions(saver, { thread_id: owner.thread_id })).toMatchObject([{ value: SECRET }]);
});

/** Two threads with a few steps each, values small and large. */
async function twoThreads(pool: pg.Pool): Promise<[string, string]> {
  const owners = [await newThread(pool), await newThread(pool)] as const;
  for (const owner of owners)
    await saying(SECRET, "b", "c", "d").invoke(
      { said: [{ secret: SECRET }, { more: SECRET }] },
      runOn(pool, owner).config,
    );
  return [owners[0].thread_id, owners[1].thread_id];
}

test.each([
  [
    "a value of another thread",
    `update checkpoint_blobs b set blob = o.blob, items = o.items
       from (select * from checkpoint_blobs where thread_id = $2 and channel = 'said' order by version limit 1) o
      where b.thread_id = $1 and b.channel = 'said'`,
  ],
  [
    "an earlier value of its channel",
    `update checkpoint_blobs b set blob = o.blob, items = o.items, base_version = o.base_version, head = o.head, tail = o.tail
       from (select * from checkpoint_blobs where thread_id = $1 and channel = 'said' order by version limit 1) o
      where b.thread_id = $1 and b.channel = 'said' and b.version <> o.version and $2 <> ''`,
  ],
  [
    "the items of a value in another order",
    `update checkpoint_blobs set items = array(select unnest(items) order by 1 desc) || items
      where thread_id = $1 and channel = 'said' and $2 <> ''`,
  ],
  [
    "an item of another thread",
    `update checkpoint_items i set item = o.item
       from (select * from checkpoint_items where thread_id = $2 limit 1) o where i.thread_id = $1`,
  ],
  [
    "a write of another task",
    `update checkpoint_writes w set blob = o.blob, items = o.items
       from (select * from checkpoint_writes where thread_id = $2 limit 1) o where w.thread_id = $1`,
  ],
])("%s in the place of one is refused", async (_, swap) => {
  await using db = await testDatabase();
  encryptWith(db.pool, [keyA]);
  const [thread, other] = await twoThreads(db.pool);

  expect((await db.pool.query(swap, [thread, other])).rowCount).toBeGreaterThan(0);

  await expect(history(db.pool, thread)).rejects.toMatchObject({ code: "checkpoint_unreadable" });
  expect(await history(db.pool, other)).toContain(SECRET.trim());
});

test("the content of another file of the thread in the place of one is refused", async () => {
  await using db = await testDatabase();
  const encryption = encryptWith(db.pool, [keyA]);
  const files = new FilesInPostgres({ db: db.pool, owner: await newThread(db.pool), encryption, checkpointId: "" });
  const [one, other] = ["a".repeat(64), "b".repeat(64)];
  for (const hash of [one, other]) await files.addContent(hash, Buffer.from(`of ${hash}`));
  await db.pool.query(
    "update file_contents set sealed = (select sealed from file_contents where hash = decode($2, 'hex')) where hash = decode($1, 'hex')",
    [one, other],
  );

  await expect(files.content(one)).rejects.toMatchObject({ code: "checkpoint_unreadable" });
  expect((await files.content(other)).toString()).toBe(`of ${other}`);
});

test("without the key, or with another one, nothing is read, and the error names what is missing", async () => {
  await using db = await testDatabase();
  encryptWith(db.pool, [keyA]);
  const [thread] = await twoThreads(db.pool);
  const without = createPool({ ...db.connection, max: 2, name: "without", log: silent });
  const wrong = createPool({ ...db.connection, max: 2, name: "wrong", log: silent });
  encryptWith(wrong, [keyB]);

  try {
    await expect(history(without, thread)).rejects.toThrow("PAWL_ENCRYPTION_KEYS is not set");
    await expect(history(wrong, thread)).rejects.toThrow(/key [0-9a-f]{8}, which PAWL_ENCRYPTION_KEYS does not have/);
  } finally {
    await Promise.all([without.end(), wrong.end()]);
  }
});

test("a thread that began in clear, went on under one key and then under the next is one thread", async () => {
  await using db = await testDatabase();
  const owner = await newThread(db.pool);
  const graph = saying(...Array.from({ length: 9 }, (_, i) => `${i} ${SECRET}`));
  const turn = (said: unknown[]) => graph.invoke({ said }, runOn(db.pool, owner).config);

  await turn([]);
  encryptWith(db.pool, [keyA]);
  await turn([{ under: `A ${SECRET}` }]);
  encryptWith(db.pool, [keyB, keyA]);
  const outcome = await turn([{ under: `B ${SECRET}` }]);

  expect(outcome.said).toHaveLength(13);
  expect(outcome.said).toMatchObject(
    [
      ...Array.from({ length: 9 }, (_, i) => `${i} ${SECRET}`),
      { under: `A ${SECRET}` },
      null,
      { under: `B ${SECRET}` },
      null,
    ].map((item) => item ?? undefined),
  );
  expect(JSON.parse(await history(db.pool, owner.thread_id))).not.toHaveLength(0);
});

test("a copy of an encrypted thread reads as the original does, and its rows are its own", async () => {
  await using db = await testDatabase();
  const encryption = encryptWith(db.pool, [keyA]);
  if (!encryption) throw new Error("no key");
  const [from] = await twoThreads(db.pool);
  const to = (await newThread(db.pool)).thread_id;

  await transaction(db.pool, async (tx) => {
    await copyThreadCheckpoints(tx, from, to);
    await resealCopy(tx, encryption, { from, to });
  });

  expect(await history(db.pool, to)).toBe((await history(db.pool, from)).replaceAll(from, to));
  await saying("x").invoke({ said: [randomUUID()] }, runOn(db.pool, { thread_id: to, epoch: "1" }).config);
});

test("a process whose keys are not those of the database does not start, and nothing is registered for it", async () => {
  await using db = await testDatabase();
  const register = (...keys: [Uint8Array, ...Uint8Array[]] | []) =>
    registerKeys(db.pool, keys.length > 0 ? new Encryption(keys as [Uint8Array]) : undefined);

  await register();
  await register(keyA);
  await register(keyB, keyA);
  await register(keyB);

  const refused = { code: "bad_configuration" };
  await expect(register()).rejects.toMatchObject(refused);
  await expect(register(randomBytes(32))).rejects.toMatchObject(refused);
  expect((await db.pool.query("select from encryption_keys")).rowCount).toBe(2);
});

test.each([
  ["the same key", () => [keyA]],
  ["a later key", () => [keyB, keyA]],
] as const)(
  "the history of an encrypted thread is removed under %s, and what stays is read and goes on",
  async (_, keys) => {
    await using db = await testDatabase();
    encryptWith(db.pool, [keyA]);
    const owner = await newThread(db.pool);
    const graph = saying(...Array.from({ length: 6 }, (_word, i) => `${i} ${SECRET}`));
    const { said } = await graph.invoke({ said: [] }, runOn(db.pool, owner).config);
    const encryption = encryptWith(db.pool, keys());

    await transaction(db.pool, (tx) => pruneThread(tx, owner.thread_id, { keep: 1, encryption }));

    const { config, saver } = runOn(db.pool, owner);
    expect((await saver.getTuple(config))?.checkpoint.channel_values["said"]).toEqual(said);
    expect((await gather(saver.list(config))).length).toBe(1);
    expect((await graph.invoke({ said: ["more"] }, config)).said).toEqual([...said, "more", undefined]);
  },
);

test("what was stored under an earlier key is not built upon, however much of it comes again", async () => {
  await using db = await testDatabase();
  const list = Array.from({ length: 50 }, (_, i) => `${i} ${SECRET}`);
  const config = { configurable: { thread_id: randomUUID(), checkpoint_ns: "" } };
  encryptWith(db.pool, [keyA]);
  const before = await putList(new Saver(db.pool), config, list);
  encryptWith(db.pool, [keyB, keyA]);
  const saver = new Saver(db.pool);
  await saver.getTuple(before);

  const changed = list.map((text, i) => (i < 20 ? text : `changed ${text}`));
  const after = await putList(saver, config, changed);

  expect((await new Saver(db.pool).getTuple(after))?.checkpoint.channel_values["list"]).toEqual(changed);
});
