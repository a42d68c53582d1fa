/** With keys nobody finds in a dump of the database what was said. All columns of all tables are looked through. */
import { Readable, Writable } from "node:stream";
import type pg from "pg";
import { expect, test } from "vitest";
import { isPacked, unpack } from "../../../checkpoints/packed-text.ts";
import { readConfig } from "../../../lib/config.ts";
import { exportTo, importFrom } from "../../../server/transfer.ts";
import { silent, testDatabase, type TestDatabase } from "../../support/database.ts";
import { testServer, urlOf } from "../../support/server.ts";
import { comparable, type Conversation, converse, graphs, WORD } from "./conversation.ts";

/**
 * Columns in clear that can hold text, and why: ids and names, what searches filter by, what Postgres decides by. A new
 * column has to be put here, or what it holds has to be sealed.
 */
const inClear: Readonly<Record<string, readonly string[]>> = {
  // what a project and its clients configure
  assistant_versions: ["config", "context", "created_by", "description", "graph_id", "metadata", "name", "tenant"],
  assistants: ["config", "context", "created_by", "description", "graph_id", "metadata", "name", "tenant"],
  // `type` says whether `blob` is sealed; `items` and `hash` are digests under a key, and a blob without it is no value
  checkpoint_blobs: ["base_version", "channel", "checkpoint_ns", "items", "thread_id", "type", "version"],
  checkpoint_items: ["thread_id"],
  checkpoint_writes: ["channel", "checkpoint_id", "checkpoint_ns", "items", "run_id", "task_id", "thread_id", "type"],
  checkpoints: [
    "checkpoint",
    "checkpoint_id",
    "checkpoint_ns",
    "files",
    "metadata",
    "parent_checkpoint_id",
    "rest",
    "thread_id",
    "type",
  ],
  database_history: ["system_identifier"],
  effect_answers: ["answered_by", "decision", "key", "refusal", "task_id"],
  effects: ["idempotency_key", "key", "kind", "name", "state", "task_id", "tenant", "tool_call_id"],
  encryption_keys: ["key_id"],
  file_changes: ["checkpoint_id", "effect_key", "run_id", "thread_id", "version"],
  file_contents: ["hash", "thread_id"],
  file_versions: ["entries", "hash", "thread_id"],
  outbox: ["created_by", "kind", "last_error", "payload", "tenant"],
  pawl_migrations: ["name"],
  runs: [
    "cancel_action",
    "created_by",
    "graph_hash",
    "graph_id",
    "idempotency_key",
    "metadata",
    "multitask_strategy",
    "request_digest",
    "status",
    "tenant",
  ],
  spent_keys: ["idempotency_key", "tenant"],
  thread_events: ["tenant"],
  threads: ["config", "created_by", "graph_id", "metadata", "rest_status", "status", "tenant", "ttl_strategy"],
  workers: ["host"],
};

/** Sealed where there is a key; the last of them holds nothing then. */
const sealed: Readonly<Record<string, readonly string[]>> = {
  checkpoint_blobs: ["blob"],
  checkpoint_items: ["item"],
  checkpoint_writes: ["blob"],
  effect_answers: ["message", "sealed"],
  effects: ["result"],
  file_contents: ["content", "sealed"],
  runs: ["error", "kwargs"],
  thread_events: ["events", "outcome"],
  threads: ["error", "interrupts", "values"],
};

async function textColumns(pool: pg.Pool): Promise<string[]> {
  const { rows } = await pool.query<{ place: string }>(
    `select table_name || '.' || column_name as place from information_schema.columns
      where table_schema = 'public'
        and data_type in ('text', 'character varying', 'json', 'jsonb', 'bytea', 'ARRAY')`,
  );
  return rows.map(({ place }) => place).toSorted();
}

const places = (columns: typeof sealed): string[] =>
  Object.entries(columns).flatMap(([table, names]) => names.map((name) => `${table}.${name}`));

/** Every value of every column of every table, in each form that it may be read in; by `table.column`. */
async function dump(pool: pg.Pool): Promise<Map<string, string[]>> {
  const { rows: tables } = await pool.query<{ name: string }>(
    "select table_name as name from information_schema.tables where table_schema = 'public'",
  );
  const found = new Map<string, string[]>();
  for (const { name } of tables) {
    const { rows } = await pool.query<{ row: Record<string, unknown> }>(
      `select row_to_json(t) as row from "${name}" t`,
    );
    for (const [column, value] of rows.flatMap(({ row }) => Object.entries(row))) {
      const place = `${name}.${column}`;
      found.set(place, [...(found.get(place) ?? []), ...textsOf(value)]);
    }
  }
  return found;
}

/** All strings inside, what they are in base64 or hex, and what that is when it is compressed. */
function textsOf(value: unknown): string[] {
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).flatMap(([key, item]) => [key, ...textsOf(item)]);
  }
  const text = String(value);
  const decoded = text.startsWith("\\x") ? Buffer.from(text.slice(2), "hex") : Buffer.from(text, "base64");
  return [text, decoded.toString("latin1"), ...unpacked(decoded)];
}

function unpacked(bytes: Buffer): string[] {
  try {
    return isPacked(bytes) ? [unpack(bytes)] : [];
  } catch {
    return []; // sealed bytes and digests may begin as what is packed does
  }
}

async function placesOf(word: string, pool: pg.Pool): Promise<string[]> {
  const all = [...(await dump(pool))];
  return all.filter(([, texts]) => texts.some((text) => text.includes(word))).map(([place]) => place);
}

/** The conversation, and a thread that was exported and comes back under another id. */
async function happened(database: TestDatabase, keys?: string) {
  const env = keys === undefined ? {} : { PAWL_ENCRYPTION_KEYS: keys };
  await using server = await testServer({ graphs, env, database });
  await using other = await testServer({ graphs, env, database, works: false });
  const conversation = await converse(server, other.client);

  const config = readConfig({ ...env, DATABASE_URL: urlOf(database.connection) });
  const options = { config, log: silent, isStock: false };
  const chunks: Buffer[] = [];
  const output = new Writable({ write: (chunk: Buffer, _encoding, done) => (chunks.push(chunk), done()) });
  await exportTo(output, conversation.threadId, options);
  const exported = Buffer.concat(chunks).toString();
  const { thread_id } = await importFrom(Readable.from([exported]), { ...options, threadId: crypto.randomUUID() });
  const { threads } = server.client;
  const [row = ""] = exported.split("\n", 1);
  conversation.answers.push(JSON.parse(row), await threads.get(thread_id), await threads.getHistory(thread_id));
  return conversation;
}

test("every column that can hold text is known to be sealed, or to have nothing to seal", async () => {
  await using database = await testDatabase();
  expect(await textColumns(database.pool)).toEqual([...places(inClear), ...places(sealed)].toSorted());
});

test("with a key nothing that was said is anywhere in the database, and clients are told the same as without", async () => {
  await using clear = await testDatabase();
  await using database = await testDatabase();
  const told: Conversation = await happened(clear);
  // All that is to be sealed was in use, so the other half can fail.
  const used = places(sealed).filter((place) => !place.endsWith(".sealed"));
  expect((await placesOf(WORD, clear.pool)).toSorted()).toEqual(used.toSorted());

  const sealedTold = await happened(database, "11".repeat(32));

  expect(await placesOf(WORD, database.pool)).toEqual([]);
  expect(JSON.stringify(told.answers)).toContain(WORD);
  expect(comparable(sealedTold.answers)).toEqual(comparable(told.answers));
});
