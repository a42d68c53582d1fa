/** What JavaScript of a thread remembers follows its checkpoints, as its files do. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test, vi } from "vitest";
import { ThreadId } from "../../lib/ids.ts";
import { localPrincipal } from "../../lib/principal.ts";
import type { RunCreate } from "../../runs/index.ts";
import { createThreads } from "../../runs/threads/threads.ts";
import { closeExecutors } from "../../tools/sandbox/select.ts";
import { type Place, makeCalls } from "../support/calls.ts";
import { type Call, filesGraph } from "../support/graphs/files.ts";
import { runsHost } from "../support/runs.ts";

const dataDir = mkdtempSync(join(tmpdir(), "pawl-globals-"));
vi.setConfig({ testTimeout: 60_000 });

afterAll(async () => {
  await closeExecutors();
  rmSync(dataDir, { recursive: true });
});

const repl = (code: string, reset = false): Call => ({ name: "javascript_repl", args: { code, reset } });
const write = (file_path: string, content: string): Call => ({ name: "write_file", args: { file_path, content } });
const look: Call = { name: "look", args: {} };

/** What the last of the calls came to. */
const run = async (at: Place, calls: readonly Call[] | null, body: Partial<RunCreate> = {}): Promise<unknown> =>
  (await makeCalls(at, calls, body)).last;

const value = async (at: Place, code: string, body: Partial<RunCreate> = {}): Promise<unknown> =>
  ((await run(at, [repl(code)], body)) as { value: unknown }).value;

async function place(): Promise<Place & AsyncDisposable> {
  const graphs = { files: filesGraph(join(dataDir, "here")), elsewhere: filesGraph(join(dataDir, "elsewhere")) };
  const on = await runsHost(graphs);
  await on.startWorker();
  return { on, threadId: await on.thread(), [Symbol.asyncDispose]: () => on[Symbol.asyncDispose]() };
}

async function newest({ on, threadId }: Place): Promise<{ checkpoint_id: string; checkpoint_ns: string }> {
  const { rows } = await on.db.pool.query(
    "select checkpoint_id from checkpoints where thread_id = $1 order by seq desc limit 1",
    [threadId],
  );
  return { checkpoint_id: String(rows[0].checkpoint_id), checkpoint_ns: "" };
}

test("a fork has the variables of the step that it goes on from, and the other branch keeps its own", async () => {
  await using here = await place();
  await value(here, "let n = 1");
  const first = await newest(here);
  expect(await value(here, "n = 2")).toBe(2);
  const second = await newest(here);
  expect(await value(here, "n += 10", { checkpoint: first })).toBe(11);
  expect(await value(here, "n")).toBe(11);
  expect(await value(here, "n", { checkpoint: second })).toBe(2);
});

test("a step that is made again on a fork starts from the variables before it", async () => {
  await using here = await place();
  await value(here, "let n = 1");
  await value(here, "n += 1");
  const { rows } = await here.on.db.pool.query(
    "select parent_checkpoint_id from checkpoints where checkpoint_id = $1 and checkpoint_ns = ''",
    [(await newest(here)).checkpoint_id],
  );
  const before = { checkpoint_id: String(rows[0].parent_checkpoint_id), checkpoint_ns: "" };
  expect(await run(here, null, { checkpoint: before })).toMatchObject({ value: 2, variables: "kept" });
});

test("another process, and another machine with an empty disk, go on with them", async () => {
  await using here = await place();
  await value(here, "const seen = new Set([1])");
  await closeExecutors();
  expect(await value(here, "seen.add(2).size", { assistant_id: "elsewhere" })).toBe(2);
  expect(await value(here, "[...seen]")).toEqual([1, 2]);
});

test("a copy of the thread has them, and a deleted thread leaves no row", async () => {
  await using here = await place();
  await value(here, "let n = 1");
  const threads = createThreads({ pool: here.on.db.pool, graphs: here.on.graphs });
  const copy = { on: here.on, threadId: ThreadId.parse((await threads.copy(localPrincipal, here.threadId)).thread_id) };
  expect(await value(copy, "n += 1")).toBe(2);
  expect(await value(here, "n")).toBe(1);
  for (const { threadId } of [here, copy]) await threads.delete(localPrincipal, threadId);
  expect((await here.on.db.pool.query("select from file_contents")).rowCount).toBe(0);
});

test("calls of one step take turns, and none loses what another did", async () => {
  await using here = await place();
  await value(here, "let n = 0");
  await run(here, [repl("n++"), write("a", "1"), repl("n++"), repl("n++")]);
  expect(await value(here, "n")).toBe(3);
  expect(await run(here, [look])).toEqual({ a: "1" });
});

test("they are no file: not in the folder, not in the list, and a change of files leaves them", async () => {
  await using here = await place();
  await value(here, "let n = 1");
  await run(here, [write("a", "1")]);
  expect(await run(here, [look])).toEqual({ a: "1" });
  const { files } = createThreads({ pool: here.on.db.pool, graphs: here.on.graphs });
  expect((await files.list(localPrincipal, here.threadId, 10)).files.map(({ path }) => path)).toEqual(["a"]);
  await files.edit(localPrincipal, here.threadId, (entries) => ({
    entries: entries.filter(({ path }) => path !== "a"),
  }));
  expect(await run(here, [look])).toEqual({});
  expect(await value(here, "n")).toBe(1);
});

test("a reset forgets them", async () => {
  await using here = await place();
  await value(here, "let n = 1");
  expect(await run(here, [repl("typeof n", true)])).toMatchObject({ value: "undefined", variables: "kept" });
  expect(await value(here, "typeof n")).toBe("undefined");
});

test("what cannot be used any more is said, and the code begins anew", async () => {
  await using here = await place();
  await value(here, "let n = 1");
  await here.on.db.pool.query("update file_contents set content = substr(content, 1, length(content) - 50)");
  expect(await run(here, [repl("typeof n")])).toMatchObject({
    status: "ok",
    value: "undefined",
    note: expect.stringContaining("lost"),
    variables: "kept",
  });
});
