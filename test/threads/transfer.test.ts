import { randomBytes, randomUUID } from "node:crypto";
import { AIMessage, HumanMessage } from "@langchain/core/messages";
import { Command, interrupt, MessagesAnnotation, StateGraph } from "@langchain/langgraph";
import type { BaseCheckpointSaver, ChannelVersions, Checkpoint } from "@langchain/langgraph-checkpoint";
import { PostgresSaver } from "@langchain/langgraph-checkpoint-postgres";
import { expect, test } from "vitest";
import { encryptWith } from "../../checkpoints/encryption.ts";
import { shareVersions } from "../../checkpoints/known-versions.ts";
import { pendingQuestions } from "../../checkpoints/questions.ts";
import { Saver } from "../../checkpoints/saver.ts";
import { createPool } from "../../db/pool.ts";
import { ThreadId } from "../../lib/ids.ts";
import { localPrincipal } from "../../lib/principal.ts";
import {
  exportStockThread,
  exportThread,
  importStockThread,
  importThread,
  type WriteLine,
} from "../../runs/threads/transfer.ts";
import { silent, type TestDatabase, testDatabase } from "../support/database.ts";
import { gather } from "../checkpoints/support.ts";
import { world } from "./support.ts";

/** Says something long, then asks inside a subgraph. */
const asking = new StateGraph(MessagesAnnotation)
  .addNode("ask", () => ({ messages: [new HumanMessage(`answer: ${interrupt("go on?")}`)] }))
  .addEdge("__start__", "ask")
  .compile();
const talking = new StateGraph(MessagesAnnotation)
  .addNode("say", () => ({ messages: [new AIMessage({ id: randomUUID(), content: "long ".repeat(300) })] }))
  .addNode("asking", asking)
  .addEdge("__start__", "say")
  .addEdge("say", "asking")
  .compile();

const configFor = (saver: BaseCheckpointSaver, thread_id: string) => ({
  configurable: { thread_id, __pregel_checkpointer: saver },
});

/** Three turns, the last of which waits for an answer. */
async function talk(saver: BaseCheckpointSaver, thread_id: string): Promise<void> {
  for (const content of ["one", "two", "three"]) {
    await talking.invoke({ messages: [new HumanMessage({ id: randomUUID(), content })] }, configFor(saver, thread_id));
  }
}

/**
 * All of a thread that a saver shows, with what differs between savers by design put aside: the order of an equal list,
 * and of keys, and of versions all but their order.
 */
async function shown(saver: BaseCheckpointSaver, thread_id: string): Promise<unknown[]> {
  const tuples = await gather(saver.list({ configurable: { thread_id } }));
  const ranks = ranksOf(tuples.map(({ checkpoint }) => checkpoint));
  return tuples
    .map((tuple) =>
      JSON.stringify([
        tuple.config,
        tuple.parentConfig ?? null,
        {
          ...tuple.checkpoint,
          channel_versions: ranks(tuple.checkpoint.channel_versions),
          versions_seen: Object.fromEntries(
            Object.entries(tuple.checkpoint.versions_seen).map(([node, seen]) => [node, ranks(seen)]),
          ),
        },
        tuple.metadata,
        tuple.pendingWrites,
      ]),
    )
    .map((text) => text.replaceAll(thread_id, "THREAD"))
    .toSorted()
    .map((text): unknown => JSON.parse(text));
}

/** Each version's place among all that the checkpoints name. */
function ranksOf(checkpoints: readonly Checkpoint[]): (versions: ChannelVersions) => ChannelVersions {
  const all = checkpoints
    .flatMap(({ channel_versions, versions_seen }) => [channel_versions, ...Object.values(versions_seen)])
    .flatMap((versions) => Object.values(versions).map(Number));
  const order = [...new Set(all)].toSorted((a, b) => a - b);
  return (versions) =>
    Object.fromEntries(Object.entries(versions).map(([channel, version]) => [channel, order.indexOf(Number(version))]));
}

async function collected(work: (write: WriteLine) => Promise<void>): Promise<string[]> {
  const lines: string[] = [];
  await work(async (line) => void lines.push(line));
  return lines;
}

async function* from(lines: readonly string[]): AsyncGenerator<string> {
  yield* lines;
}

async function stockSaver(db: TestDatabase): Promise<PostgresSaver> {
  const saver = new PostgresSaver(db.pool);
  await saver.setup();
  return saver;
}

test.each(["in clear", "encrypted"])(
  "a thread stored by us, %s, goes to the stock saver and back, and goes on in both",
  async (how) => {
    await using w = await world({ talking });
    await using other = await testDatabase({ template: "template0" });
    if (how === "encrypted") encryptWith(w.db.pool, [randomBytes(32)]);
    const threadId = ThreadId.parse(randomUUID());
    await w.threads.create(localPrincipal, { thread_id: threadId, metadata: { graph_id: "talking", by: "me" } });
    const ours = new Saver(w.db.pool);
    await talk(ours, threadId);
    const stock = await stockSaver(other);

    const out = await collected((write) => exportThread(w.db.pool, localPrincipal, { threadId, write }));
    await importStockThread(other.pool, { lines: from(out) });

    expect(await shown(stock, threadId)).toEqual(await shown(ours, threadId));

    const back = await collected((write) => exportStockThread(other.pool, { threadId, write }));
    const copy = randomUUID();
    await importThread(w.db.pool, localPrincipal, { lines: from(back), threadId: copy, graphId: "talking" });

    expect(await shown(ours, copy)).toEqual(await shown(ours, threadId));
    for (const [saver, id] of [
      [stock, threadId],
      [ours, copy],
    ] as const) {
      await talk(saver, id);
      expect((await talking.getState(configFor(saver, id))).values.messages).toHaveLength(12);
    }
  },
);

test("of an export that was edited and takes the place of its thread, a process that remembers that one reads what was edited, and builds on it", async () => {
  await using w = await world({ talking });
  const stranger = createPool({ ...w.db.connection, max: 1, name: "stranger", log: silent });
  await using _ = { [Symbol.asyncDispose]: () => stranger.end() };
  shareVersions([w.db.pool]);
  const threadId = ThreadId.parse(randomUUID());
  await w.threads.create(localPrincipal, { thread_id: threadId, metadata: { graph_id: "talking" } });
  const server = new Saver(w.db.pool);
  await talk(server, threadId);
  const texts = async (saver: Saver): Promise<string[]> => {
    const { values } = await talking.getState(configFor(saver, threadId));
    return (values as typeof MessagesAnnotation.State).messages.map(({ text }) => text);
  };
  const before = await texts(server);
  const lines = await collected((write) => exportThread(w.db.pool, localPrincipal, { threadId, write }));

  await w.client.threads.delete(threadId);
  const edited = lines.map((line) => line.replaceAll("one", "ONE").replaceAll("long ", "LONG "));
  await importThread(w.db.pool, localPrincipal, { lines: from(edited), threadId });

  const after = before.map((text) => text.replaceAll("one", "ONE").replaceAll("long ", "LONG "));
  expect(await texts(server)).toEqual(after);
  const asked = await gather(server.list({ configurable: { thread_id: threadId, checkpoint_ns: "" } }));
  expect(asked[0]?.pendingWrites?.map(([, channel]) => channel)).toContain("__interrupt__");
  await talking.invoke(new Command({ resume: "yes" }), configFor(server, threadId));
  expect(await texts(server)).toEqual([...after, "answer: yes"]);
  expect(await texts(new Saver(stranger))).toEqual([...after, "answer: yes"]);
});

test("a thread comes to another installation with its row and its question", async () => {
  await using w = await world();
  await using elsewhere = await world();
  const threadId = await w.threadAfter("asking", {});
  await w.db.pool.query(
    `update threads set status = 'interrupted', rest_status = 'interrupted', "values" = '{"count":1}' where thread_id = $1`,
    [threadId],
  );

  const lines = await collected((write) => exportThread(w.db.pool, localPrincipal, { threadId, write }));
  const imported = await importThread(elsewhere.db.pool, localPrincipal, { lines: from(lines) });

  expect(imported.thread_id).toBe(threadId);
  expect(await elsewhere.client.threads.get(threadId)).toMatchObject({ status: "interrupted", values: { count: 1 } });
  expect(await elsewhere.client.threads.getState(threadId)).toMatchObject({ next: ["ask"] });
  const questions = await pendingQuestions(new Saver(elsewhere.db.pool), { thread_id: threadId });
  expect(questions).toEqual(await pendingQuestions(new Saver(w.db.pool), { thread_id: threadId }));
});

test("an export that was cut off, changed or comes twice leaves nothing behind", async () => {
  await using w = await world();
  await using elsewhere = await world();
  const threadId = await w.threadAfter("steps", {});
  const lines = await collected((write) => exportThread(w.db.pool, localPrincipal, { threadId, write }));
  const attempt = (some: readonly string[]) => importThread(elsewhere.db.pool, localPrincipal, { lines: from(some) });

  for (let kept = 0; kept < lines.length; kept++) {
    await expect(attempt(lines.slice(0, kept))).rejects.toMatchObject({ code: "invalid_input" });
  }
  await expect(attempt([...lines, ...lines])).rejects.toMatchObject({ code: "invalid_input" });
  await expect(attempt(lines.with(1, "{"))).rejects.toMatchObject({ code: "invalid_input" });
  await expect(elsewhere.client.threads.get(threadId)).rejects.toMatchObject({ status: 404 });

  await attempt(lines);
  await expect(attempt(lines)).rejects.toMatchObject({ code: "already_exists" });
});
