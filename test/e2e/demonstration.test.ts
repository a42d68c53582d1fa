/** What the README shows, as a test: the real command, the real database, the built-in demo model, and a SIGKILL in between. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ThreadState } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, expect, test } from "vitest";
import { spawnServer, type SpawnedServer } from "../support/server.ts";

interface Message {
  readonly type: string;
  readonly content: string;
  readonly tool_calls?: readonly { readonly name: string }[];
}
interface Values {
  readonly messages: readonly Message[];
}

let dataDir = "";
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "pawl-e2e-"));
});
afterAll(async () => {
  await rm(dataDir, { recursive: true, force: true });
});

const spawnReact = (): Promise<SpawnedServer> =>
  spawnServer({ graphs: { react: "graphs/react.ts:graph" }, env: { PAWL_DATA_DIR: dataDir } });

const outbox = (): Promise<string[]> => readdir(join(dataDir, "outbox")).catch(() => []);

const ask = (content: string) => ({ input: { messages: [{ role: "user", content }] } });

test("an agent computes, waits for approval through a SIGKILL of the server, and sends one e-mail", async () => {
  await using first = await spawnReact();
  const { thread_id } = await first.client.threads.create();
  const events: string[] = [];
  const stream = first.client.runs.stream(thread_id, "react", {
    ...ask("What is 17 * 23? Then email the result to ann@example.org"),
    streamMode: ["messages-tuple", "updates"],
  });
  for await (const { event } of stream) events.push(event);
  expect(events).toContain("messages");
  const before: ThreadState<Values> = await first.client.threads.getState(thread_id);
  const [question] = before.tasks.flatMap((task) => task.interrupts);
  expect(question?.value).toMatchObject({
    action_request: { action: "send_email", args: { to: ["ann@example.org"], body: "391" } },
  });
  expect(await outbox()).toEqual([]);

  await first.kill("SIGKILL");
  await using second = await spawnReact();
  const { client } = second;
  expect(await client.threads.getState(thread_id)).toEqual(before);
  expect(await client.threads.get(thread_id)).toMatchObject({ status: "interrupted" });

  const values = (await client.runs.wait(thread_id, "react", {
    command: { resume: { decisions: [{ type: "approve" }] } },
  })) as unknown as Values;
  expect(values.messages.at(-1)).toMatchObject({ type: "ai", content: expect.stringContaining("391") });
  const [mail, ...more] = await outbox();
  expect(more).toEqual([]);
  expect(await readFile(join(dataDir, "outbox", mail!), "utf8")).toMatch(/^To: ann@example\.org/m);

  const history = await client.threads.getHistory<Values>(thread_id, { limit: 100 });
  expect(history.at(-1)?.values.messages ?? []).toEqual([]);
  expect(history.map((state) => state.next).filter((next) => next.includes("tools"))).not.toEqual([]);

  // A fork from before the e-mail: another question, its own answer, and the thread goes on from there.
  const fork = history.find((state) => state.next.includes("model") && state.values.messages.length === 1)!;
  const forked = (await client.runs.wait(thread_id, "react", {
    ...ask("What is 6 * 7?"),
    checkpoint: fork.checkpoint,
  })) as unknown as Values;
  expect(forked.messages.at(-1)?.content).toContain("42");
  expect(forked.messages.some(({ content }) => content.includes("e-mail to ann"))).toBe(false);
  expect(await outbox()).toHaveLength(1);
});

test("files, the time and a refused address: every tool of the agent does its work or says why not", async () => {
  await using server = await spawnReact();
  const { client } = server;
  const { thread_id } = await client.threads.create();
  const say = async (content: string): Promise<Message[]> => {
    const values = (await client.runs.wait(thread_id, "react", ask(content))) as unknown as Values;
    return values.messages.slice(values.messages.findLastIndex(({ type }) => type === "human"));
  };
  const wrote = await say('Write "buy milk" to the file notes.txt');
  expect(wrote.map(({ tool_calls }) => tool_calls?.[0]?.name)).toContain("write_file");
  expect(JSON.stringify(await say("Read the file notes.txt"))).toContain("buy milk");
  expect(JSON.stringify(await say("What time is it?"))).toContain(new Date().getUTCFullYear().toString());
  expect(JSON.stringify(await say("Fetch http://169.254.169.254/latest/meta-data"))).toMatch(/DENIED|not allowed/);
});

test("a kill between the approval and its end sends at most one e-mail, and the thread can go on", async () => {
  await using first = await spawnReact();
  const { thread_id } = await first.client.threads.create();
  const already = (await outbox()).length;
  await first.client.runs.wait(thread_id, "react", ask("Email ann@example.org about lunch saying see you at noon"));
  await first.client.runs.create(thread_id, "react", { command: { resume: { decisions: [{ type: "approve" }] } } });
  await first.kill("SIGKILL");
  await using second = await spawnReact();
  const [run] = await second.client.runs.list(thread_id);
  await second.client.runs.join(thread_id, run!.run_id);
  expect((await second.client.runs.get(thread_id, run!.run_id)).status).toBe("success");
  expect((await outbox()).length - already).toBeLessThanOrEqual(1);
  const values = (await second.client.runs.wait(thread_id, "react", ask("What is 1 + 1?"))) as unknown as Values;
  expect(values.messages.at(-1)?.content).toContain("2");
});
