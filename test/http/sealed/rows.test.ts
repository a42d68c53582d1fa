/** Sealed rows of threads, runs and their log: bound to their place, read beside rows in clear and under an earlier key. */
import type { Thread } from "@langchain/langgraph-sdk";
import type pg from "pg";
import { expect, test } from "vitest";
import { gather } from "../../checkpoints/support.ts";
import { testDatabase, type TestDatabase } from "../../support/database.ts";
import { type TestServer, testServer } from "../../support/server.ts";
import { logPlace, openedOrWhy } from "../../../runs/sealed-columns.ts";
import { refusal } from "../../threads/support.ts";
import { comparable, graphs, said, WORD } from "./conversation.ts";

const [keyA, keyB] = ["11".repeat(32), "22".repeat(32)];
const start = (database: TestDatabase, keys?: string, works = true): Promise<TestServer> =>
  testServer({ graphs, database, works, env: keys === undefined ? {} : { PAWL_ENCRYPTION_KEYS: keys } });

const UNREADABLE = "409 checkpoint_unreadable";

/** A thread on which a graph has run, and its runs, oldest first. */
async function ran({ client: { threads, runs } }: TestServer, graph: keyof typeof graphs, times = 1) {
  const { thread_id } = await threads.create();
  const ids: string[] = [];
  for (let i = 0; i < times; i += 1) {
    const body = { input: said(`user ${i}`), streamResumable: true };
    const { run_id } = await runs.create(thread_id, graph, body);
    await runs.join(thread_id, run_id);
    ids.push(run_id);
  }
  return { thread_id, ids };
}

/** Puts the column of one row into another, in which it is not what was sealed there. */
async function swap(pool: pg.Pool, column: `${string}.${string}`, [into, from]: readonly [string, string]) {
  const [table, name] = column.split(".");
  const { rowCount } = await pool.query(
    `update ${table} set ${name} = (select ${name} from ${table} where ${from}) where ${into}`,
  );
  expect(rowCount).toBe(1);
}

/** What a row of a list has in the place of what cannot be read. */
const unreadable = {
  error: "checkpoint_unreadable",
  message: expect.stringMatching(/^An encrypted value was changed/),
};

test("values and questions of another thread are refused, and so is its error; the thread is listed without them, and says so", async () => {
  await using server = await testServer({ graphs, env: { PAWL_ENCRYPTION_KEYS: keyA } });
  const { threads } = server.client;
  for (const [column, graph] of [
    ["threads.interrupts", "agent"],
    ["threads.error", "failing"],
  ] as const) {
    const [one, two] = [await ran(server, graph), await ran(server, graph)];
    const other = column === "threads.error" ? two : await threads.copy(one.thread_id);
    await swap(server.database.pool, column, [`thread_id = '${one.thread_id}'`, `thread_id = '${other.thread_id}'`]);

    const ids = [one.thread_id];
    expect(await refusal(threads.get(one.thread_id))).toBe(UNREADABLE);
    const both = { ids: [...ids, other.thread_id], limit: 2 };
    const [listed, readable] = await threads.search({ ...both, sortBy: "created_at", sortOrder: "asc" });
    const lacks = column === "threads.error" ? ["error"] : ["values", "interrupts"];
    expect(listed).toMatchObject({ thread_id: one.thread_id, unreadable });
    expect(Object.keys(readable!).toSorted()).toEqual(
      [...Object.keys(listed!).filter((key) => key !== "unreadable"), ...lacks].toSorted(),
    );
    const selected = async (...select: (keyof Thread)[]) =>
      threads.search({ ids, select: select as ("status" | "thread_id" | "values")[] });
    expect(await selected("thread_id")).toEqual([{ thread_id: one.thread_id }]);
    const { status } = listed!;
    expect(await selected("status", "values", "error")).toEqual([
      { status, unreadable, ...(column === "threads.error" ? { values: listed!.values } : { error: null }) },
    ]);
    expect(await refusal(threads.get(other.thread_id))).toBe("accepted");
  }
});

test("what another run was asked to do is refused, and its error, and so are other parts of the log", async () => {
  await using database = await testDatabase();
  await using server = await start(database, keyA);
  await using other = await start(database, keyA, false);
  const { pool } = database;
  const { thread_id, ids } = await ran(server, "failing", 3);
  const [kwargs, log, end] = ids as [string, string, string];
  const replay = async (run_id: string) =>
    JSON.stringify(await gather(other.client.runs.joinStream(thread_id, run_id, { lastEventId: "-1" })));
  const newest = (run_id: string) =>
    `(thread_id, last_seq) = (select thread_id, max(last_seq) from thread_events where run_id = '${run_id}' group by 1)`;
  expect(await replay(log)).toContain(WORD);

  await swap(pool, "runs.kwargs", [`run_id = '${kwargs}'`, `run_id = '${log}'`]);
  expect(await refusal(other.client.runs.get(thread_id, kwargs))).toBe(UNREADABLE);
  const listed = await other.client.runs.list(thread_id);
  expect(listed.map(({ run_id }) => run_id)).toEqual(ids.toReversed());
  const fields = (run: object | undefined) => Object.keys(run ?? {}).filter((key) => key !== "kwargs");
  expect(listed[2]).toMatchObject({ run_id: kwargs, status: "error", unreadable });
  expect(Object.keys(listed[2]!).toSorted()).toEqual([...fields(listed[1]), "unreadable"].toSorted());
  expect(listed.slice(0, 2).every((run) => "kwargs" in run && !("unreadable" in run))).toBe(true);
  const query = "limit=1&offset=2&select=run_id&select=";
  const selected = async (field: string): Promise<unknown> => {
    const answer = await fetch(`${other.url}/threads/${thread_id}/runs?${query}${field}`);
    return answer.json();
  };
  expect(await selected("kwargs")).toEqual([{ run_id: kwargs, unreadable }]);
  expect(await selected("status")).toEqual([{ run_id: kwargs, status: "error" }]);

  await swap(pool, "thread_events.events", [newest(log), newest(end)]);
  expect(await replay(log)).toContain("checkpoint_unreadable");

  await swap(pool, "thread_events.outcome", [newest(end), newest(log)]);
  const join = async () => (await fetch(`${other.url}/threads/${thread_id}/runs/${end}/join`)).text();
  expect(await join()).toContain("checkpoint_unreadable");

  await pool.query("delete from thread_events where run_id = $1", [end]);
  expect(await join()).toContain(WORD); // from the run's own row
  await swap(pool, "runs.error", [`run_id = '${end}'`, `run_id = '${log}'`]);
  expect(await join()).toContain("checkpoint_unreadable");
});

test("what a person said about the effect of another thread is refused", async () => {
  await using server = await testServer({ graphs, env: { PAWL_ENCRYPTION_KEYS: keyA } });
  const { runs, threads } = server.client;
  const threadIds = [(await ran(server, "sending")).thread_id, (await ran(server, "sending")).thread_id];
  const answer = async (threadId: string, what: unknown) => {
    const [[question]] = Object.values((await threads.get(threadId)).interrupts) as [[{ id: string }]];
    const command = { resume: { [question.id]: what } };
    return runs.wait(threadId, "sending", { command, raiseError: false });
  };
  for (const threadId of threadIds) await answer(threadId, "nonsense");

  const [one, two] = threadIds.map((id) => `thread_id = '${id}'`) as [string, string];
  await swap(server.database.pool, "effect_answers.sealed", [one, two]);

  expect(JSON.stringify(await answer(threadIds[0]!, { type: "abandon" }))).toContain("checkpoint_unreadable");
  expect(JSON.stringify(await answer(threadIds[1]!, { type: "abandon" }))).not.toContain("checkpoint_unreadable");
});

test("a run whose request cannot be read ends with that, and holds up no other", async () => {
  await using database = await testDatabase();
  const threadIds: string[] = [];
  {
    await using accepting = await start(database, keyA, false);
    const { threads, runs } = accepting.client;
    const runIds: string[] = [];
    for (let i = 0; i < 2; i += 1) {
      const { thread_id } = await threads.create();
      runIds.push((await runs.create(thread_id, "agent", { input: said("user") })).run_id);
      threadIds.push(thread_id);
    }
    await swap(database.pool, "runs.kwargs", [`run_id = '${runIds[0]}'`, `run_id = '${runIds[1]}'`]);
  }
  await using server = await start(database, keyA);
  const ends = async (threadId: string) => {
    for (;;) {
      const thread = await server.client.threads.get(threadId);
      if (thread.status !== "busy") return thread;
    }
  };
  expect(await ends(threadIds[0]!)).toMatchObject({ status: "error", error: { error: "checkpoint_unreadable" } });
  expect(await ends(threadIds[1]!)).toMatchObject({ status: "interrupted" });
});

test("rows in clear from before, and rows under an earlier key, are read as before, and go on under the first key", async () => {
  await using database = await testDatabase();
  const shown = async (server: TestServer, { thread_id, ids }: { thread_id: string; ids: string[] }) => {
    const { threads, runs } = server.client;
    const [run_id = ""] = ids;
    return [
      await threads.get(thread_id),
      await threads.search({ ids: [thread_id], select: ["values"] }),
      await runs.get(thread_id, run_id),
      await runs.join(thread_id, run_id),
      await gather(runs.joinStream(thread_id, run_id, { lastEventId: "-1" })),
    ];
  };
  const known: { ran: Awaited<ReturnType<typeof ran>>; was: unknown }[] = [];
  for (const keys of [undefined, keyA, `${keyB},${keyA}`]) {
    await using server = await start(database, keys);
    for (const { ran: earlier, was } of known) {
      expect(await shown(server, earlier)).toEqual(was);
      const copy = await server.client.threads.copy(earlier.thread_id);
      const command = { resume: `a person's ${WORD}` };
      expect(JSON.stringify(await server.client.runs.wait(copy.thread_id, "agent", { command }))).toContain("person");
    }
    const fresh = await ran(server, "agent");
    known.push({ ran: fresh, was: await shown(server, fresh) });
  }
  expect(comparable(known[2]!.was)).toEqual(comparable(known[0]!.was));
  await expect(start(database, "33".repeat(32))).rejects.toMatchObject({ code: "bad_configuration" });
});

test("threads are not searched by values that Postgres does not see, and are without a key", async () => {
  await using database = await testDatabase();
  const filter = { values: { note: "x" } };
  const count = (server: TestServer) =>
    fetch(`${server.url}/threads/count`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(filter),
    });
  {
    await using server = await start(database);
    const { thread_id } = await ran(server, "agent");
    await server.client.threads.updateState(thread_id, { values: { note: "x" }, asNode: "ask" });
    expect(await server.client.threads.search(filter)).toMatchObject([{ thread_id }]);
    expect(await (await count(server)).json()).toBe(1);
  }
  await using server = await start(database, keyA);
  expect(await refusal(server.client.threads.search(filter))).toBe("422 unsupported");
  expect((await count(server)).status).toBe(422);
  expect(await server.client.threads.search({ metadata: { graph_id: "agent" } })).toHaveLength(1);
});

test("threads and runs whose key is gone are listed beside those that can be read, and still do not pass for empty ones", async () => {
  await using database = await testDatabase();
  let lost = { thread_id: "", ids: [""] };
  {
    await using server = await start(database, keyA);
    lost = await ran(server, "agent");
  }
  // Some process had both keys once, so that one with the second alone may start.
  await database.pool.query("delete from encryption_keys");
  await using server = await start(database, keyB);
  const { threads, runs } = server.client;
  const found = await ran(server, "agent");
  const keyGone = {
    error: "checkpoint_unreadable",
    message: expect.stringContaining("PAWL_ENCRYPTION_KEYS does not have"),
  };

  const listed = await threads.search({ sortBy: "created_at", sortOrder: "asc" });
  expect(listed.map(({ thread_id }) => thread_id)).toEqual([lost.thread_id, found.thread_id]);
  expect(listed[0]).toMatchObject({ status: "interrupted", unreadable: keyGone });
  expect(listed[0]).not.toHaveProperty("values");
  expect(listed[1]).toMatchObject({ values: { messages: expect.any(Array) } });
  expect(listed[1]).not.toHaveProperty("unreadable");
  expect(await runs.list(lost.thread_id)).toMatchObject([{ run_id: lost.ids[0], unreadable: keyGone }]);

  expect(await refusal(threads.get(lost.thread_id))).toBe(UNREADABLE);
  expect(await refusal(threads.getState(lost.thread_id))).toBe(UNREADABLE);
  expect(await refusal(threads.updateState(lost.thread_id, { values: { note: "x" }, asNode: "ask" }))).toBe(UNREADABLE);
  expect(await refusal(runs.create(lost.thread_id, "agent", { command: { resume: "yes" } }))).toBe(UNREADABLE);
  const ended = await runs.wait(lost.thread_id, "agent", { input: said("user"), raiseError: false });
  expect(ended).toMatchObject({ __error__: { error: "checkpoint_unreadable" } });
  expect(await refusal(threads.copy(lost.thread_id))).toBe(UNREADABLE);

  const patched = await threads.update(lost.thread_id, { metadata: { reviewed: true } });
  expect(patched).toMatchObject({ metadata: { reviewed: true }, unreadable: keyGone });
  expect(patched).not.toHaveProperty("values");
  await threads.delete(lost.thread_id);
  expect(await threads.search()).toMatchObject([{ thread_id: found.thread_id }]);
});

test("each row of the log has a place of its own, for its events and for the end of the run", () => {
  const run = { thread_id: "t", run_id: "r" };
  const places = [
    logPlace(run, "events", "1"),
    logPlace(run, "events", "2"),
    logPlace(run, "outcome", "1"),
    logPlace({ ...run, run_id: "s" }, "events", "1"),
  ];
  expect(new Set(places.map((place) => JSON.stringify(place))).size).toBe(places.length);
});

test("only what cannot be read is left out of a list: any other error is one", () => {
  expect(() =>
    openedOrWhy(() => {
      throw new Error("no JSON");
    }),
  ).toThrow("no JSON");
});
