import { MessagesAnnotation, StateGraph } from "@langchain/langgraph";
import { expect, test } from "vitest";
import { testDatabase } from "../support/database.ts";
import { testServer } from "../support/server.ts";

const SECRET = "the launch code is 0000 ".repeat(40);
const agent = new StateGraph(MessagesAnnotation)
  .addNode("say", () => ({ messages: [{ role: "ai", content: SECRET }] }))
  .addEdge("__start__", "say")
  .compile();

test("a server with a key runs, copies and prunes threads whose checkpoints nobody else reads, and one without does not start", async () => {
  await using database = await testDatabase();
  const env = { PAWL_ENCRYPTION_KEYS: "11".repeat(32) };
  {
    await using server = await testServer({ graphs: { agent }, env, database });
    const { threads, runs } = server.client;
    const { thread_id } = await threads.create();
    for (const content of ["one", "two"]) {
      await runs.wait(thread_id, "agent", { input: { messages: [{ role: "user", content }] } });
    }
    const copy = await threads.copy(thread_id);
    await fetch(`${server.url}/threads/prune`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ thread_ids: [thread_id], strategy: "keep_latest" }),
    });

    const [original, copied] = [await threads.getState(thread_id), await threads.getState(copy.thread_id)];
    expect(original.values).toMatchObject({ messages: [{}, { content: SECRET }, {}, { content: SECRET }] });
    expect(copied.values).toEqual(original.values);
    expect(await threads.getHistory(thread_id)).toHaveLength(1);
    const { rows } = await database.pool.query<{ bytes: Buffer }>(
      "select blob as bytes from checkpoint_blobs union all select blob from checkpoint_writes union all select item from checkpoint_items",
    );
    expect(rows.map(({ bytes }) => bytes.toString("latin1")).join()).not.toContain("launch");
  }

  await expect(testServer({ graphs: { agent }, database })).rejects.toMatchObject({ code: "bad_configuration" });
});
