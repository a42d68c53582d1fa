/** A thread that is made from the updates of a conversation elsewhere, when its server dies half-way through them. */
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "@langchain/langgraph-sdk";
import { expect, test } from "vitest";
import { uuidv7 } from "../../lib/ids.ts";
import { testDatabase } from "../support/database.ts";
import { spawnServer } from "../support/server.ts";

test("its server is killed between two updates: nothing is left of it, and the same POST makes all of it", async () => {
  await using rest = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "pawl-replay-"));
  rest.defer(() => rm(folder, { recursive: true }));
  const file = join(folder, "alive");
  await writeFile(file, "");
  const database = rest.use(await testDatabase());
  const options = { graphs: { edge: "test/support/graphs/edge.ts:graph" }, ...database, args: ["--no-workers"] };
  const thread = {
    threadId: uuidv7(),
    graphId: "edge",
    ifExists: "do_nothing" as const,
    supersteps: [
      { updates: [{ values: { file, log: ["first"] }, asNode: "step" }] },
      { updates: [{ values: { log: ["second"] }, asNode: "step" }] },
    ],
  };
  const first = rest.use(await spawnServer(options));
  const died = once(first.process, "exit");
  const client = new Client({ apiUrl: first.url, callerOptions: { maxRetries: 0 } });
  const posted = client.threads.create(thread).catch(() => "lost");
  expect(await died).toEqual([null, "SIGKILL"]);
  expect(existsSync(file)).toBe(false);
  const next = rest.use(await spawnServer(options));
  const made = await next.client.threads.create(thread);
  expect(made).toMatchObject({ thread_id: thread.threadId, values: { log: ["first", "second"] } });
  expect(await next.client.threads.getHistory(thread.threadId)).toHaveLength(2);
  expect(await posted).toBe("lost");
});
