/** The files of a thread follow its checkpoints: whoever goes on from a step has the files of that step, wherever it is. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test, vi } from "vitest";
import { hashOf } from "../../lib/file-versions.ts";
import { ThreadId } from "../../lib/ids.ts";
import { localPrincipal } from "../../lib/principal.ts";
import type { RunCreate } from "../../runs/index.ts";
import { createThreads } from "../../runs/threads/threads.ts";
import { sweepWorkspaces } from "../../server/workspaces.ts";
import { defaultPolicy } from "../../tools/sandbox/types.ts";
import { withFile } from "../../tools/sandbox/version-edits.ts";
import { removeWorkspace } from "../../tools/sandbox/workspace.ts";
import { type Place, makeCalls } from "../support/calls.ts";
import { type Call, filesGraph } from "../support/graphs/files.ts";
import { type RunsHost, runsHost } from "../support/runs.ts";

const never = new AbortController().signal;
const dataDir = mkdtempSync(join(tmpdir(), "pawl-files-"));
vi.setConfig({ testTimeout: 60_000 });

afterAll(() => rmSync(dataDir, { recursive: true }));

let machines = 0;
const machine = (): string => join(dataDir, String((machines += 1)));

async function working(dir = machine()): Promise<RunsHost> {
  const on = await runsHost({ files: filesGraph(dir) });
  await on.startWorker();
  return on;
}

const write = (file_path: string, content: string): Call => ({ name: "write_file", args: { file_path, content } });
const append = (path: string, text: string): Call => ({ name: "append", args: { path, text } });
const look: Call = { name: "look", args: {} };
const ask: Call = { name: "ask", args: {} };

async function newest({ db }: RunsHost, threadId: ThreadId): Promise<{ checkpoint_id: string; checkpoint_ns: string }> {
  const { rows } = await db.pool.query(
    "select checkpoint_id from checkpoints where thread_id = $1 order by seq desc limit 1",
    [threadId],
  );
  return { checkpoint_id: String(rows[0].checkpoint_id), checkpoint_ns: "" };
}

async function before({ db }: RunsHost, { checkpoint_id }: { checkpoint_id: string }) {
  const { rows } = await db.pool.query(
    "select parent_checkpoint_id from checkpoints where checkpoint_id = $1 and checkpoint_ns = ''",
    [checkpoint_id],
  );
  return { checkpoint_id: String(rows[0].parent_checkpoint_id), checkpoint_ns: "" };
}

const threadsOf = ({ db, graphs }: RunsHost) => createThreads({ pool: db.pool, graphs });

/** The files that the thread has now, by what the database says and by what a tool sees. */
async function filesOf(on: RunsHost, threadId: ThreadId): Promise<unknown> {
  const { files } = threadsOf(on);
  const listed = await files.list(localPrincipal, threadId, 1_000);
  const contents = await Promise.all(
    listed.files.map(async ({ path }) => {
      const find = (entries: { path: string; hash: string | null }[]): string =>
        entries.find((entry) => entry.path === path)!.hash!;
      return [path, String(await files.read(localPrincipal, threadId, find))] as const;
    }),
  );
  const said = Object.fromEntries(contents);
  expect((await makeCalls({ on, threadId }, [look])).last).toEqual(said);
  return said;
}

const upload = ({ on, threadId }: Place, path: string, text: string) =>
  threadsOf(on).files.edit(localPrincipal, threadId, (entries) => {
    const content = Buffer.from(text);
    const hash = hashOf(content);
    return {
      entries: withFile(entries, { path, hash, size: content.length }, defaultPolicy),
      added: { hash, content },
    };
  });

test("a fork has the files of the step that it goes on from, and the other branch keeps its own", async () => {
  await using on = await working();
  const threadId = await on.thread();
  await makeCalls({ on, threadId }, [write("a", "1"), write("d/b", "1")]);
  const first = await newest(on, threadId);
  await makeCalls({ on, threadId }, [
    write("a", "2"),
    { name: "delete_file", args: { file_path: "d" } },
    write("d", "file"),
  ]);
  const second = await newest(on, threadId);
  expect((await makeCalls({ on, threadId }, [look], { checkpoint: first })).last).toEqual({ a: "1", "d/b": "1" });
  await makeCalls({ on, threadId }, [write("c", "3")], { checkpoint: first });
  expect(await filesOf(on, threadId)).toEqual({ a: "1", "d/b": "1", c: "3" });
  expect((await makeCalls({ on, threadId }, [look], { checkpoint: second })).last).toEqual({ a: "2", d: "file" });
});

test("a step that is made again on a fork changes the files again, from what they were before it", async () => {
  await using on = await working();
  const threadId = await on.thread();
  await makeCalls({ on, threadId }, [append("a", "1")]);
  await makeCalls({ on, threadId }, [append("a", "2")]);
  const step = await before(on, await newest(on, threadId));
  await makeCalls({ on, threadId }, [append("a", "3")]);
  expect((await makeCalls({ on, threadId }, null, { checkpoint: step })).last).toBe("12");
  expect(await filesOf(on, threadId)).toEqual({ a: "12" });
});

test("a copy of a thread has its files, and they part from there", async () => {
  await using on = await working();
  const threadId = await on.thread();
  await makeCalls({ on, threadId }, [write("a", "1")]);
  const first = await newest(on, threadId);
  await makeCalls({ on, threadId }, [write("a", "2")]);
  const copy = ThreadId.parse((await threadsOf(on).copy(localPrincipal, threadId)).thread_id);
  await makeCalls({ on, threadId: copy }, [write("a", "copy")]);
  expect(await filesOf(on, threadId)).toEqual({ a: "2" });
  expect(await filesOf(on, copy)).toEqual({ a: "copy" });
  await threadsOf(on).delete(localPrincipal, threadId);
  expect((await makeCalls({ on, threadId: copy }, [look], { checkpoint: first })).last).toEqual({ a: "1" });
});

test("what a run did to the files goes with it, also what it did to the checkpoint of an earlier one", async () => {
  await using on = await working();
  const threadId = await on.thread();
  await makeCalls({ on, threadId }, [write("a", "1"), ask]);
  const { rows: kept } = await on.db.pool.query("select hash from file_contents order by hash");
  const { runId } = await makeCalls({ on, threadId }, [append("a", "2"), write("b", "2")]);
  await on.runs.delete(localPrincipal, { runId }, never);
  const { rows: left } = await on.db.pool.query("select hash from file_contents order by hash");
  expect(left).toEqual(kept);
  expect(await filesOf(on, threadId)).toEqual({ a: "1" });
});

test("a thread that waits has what the other calls of the step did, and so has who answers", async () => {
  await using on = await working();
  const threadId = await on.thread();
  await makeCalls({ on, threadId }, [append("a", "1"), ask, append("b", "1")]);
  await removeWorkspace(join(dataDir, String(machines)), threadId);
  const { log } = await makeCalls({ on, threadId }, null, { command: { resume: "yes" } });
  expect(log).toHaveLength(3);
  expect(await filesOf(on, threadId)).toEqual({ a: "1", b: "1" });
});

test("calls of one step do not lose each other's changes", async () => {
  await using on = await working();
  const threadId = await on.thread();
  await makeCalls(
    { on, threadId },
    Array.from({ length: 8 }, () => append("a", "x")),
  );
  expect(await filesOf(on, threadId)).toEqual({ a: "xxxxxxxx" });
});

test("another machine with an empty disk goes on with the same files", async () => {
  await using on = await runsHost({ files: filesGraph(machine()), elsewhere: filesGraph(machine()) });
  await on.startWorker();
  const threadId = await on.thread();
  const there = { assistant_id: "elsewhere" };
  await makeCalls({ on, threadId }, [write("a", "1"), write("d/e/b", "2")]);
  expect((await makeCalls({ on, threadId }, [look], there)).last).toEqual({ a: "1", "d/e/b": "2" });
  await makeCalls({ on, threadId }, [append("a", "3")], there);
  expect(await filesOf(on, threadId)).toEqual({ a: "13", "d/e/b": "2" });
});

test("uploads are part of the newest checkpoint, before the first run and after", async () => {
  await using on = await working();
  const threadId = await on.thread();
  await upload({ on, threadId }, "up", "0");
  expect(await filesOf(on, threadId)).toEqual({ up: "0" });
  await makeCalls({ on, threadId }, [write("a", "1")]);
  await upload({ on, threadId }, "up", "1");
  const uploaded = await newest(on, threadId);
  await makeCalls({ on, threadId }, [write("up", "2")]);
  expect((await makeCalls({ on, threadId }, [look], { checkpoint: uploaded })).last).toEqual({ a: "1", up: "1" });
  await makeCalls({ on, threadId }, [ask]);
  await upload({ on, threadId }, "up", "3");
  await makeCalls({ on, threadId }, null, { command: { resume: "yes" } });
  expect(await filesOf(on, threadId)).toMatchObject({ up: "3" });
});

test("a call that leaves more than it may is undone, and says so", async () => {
  await using on = await working();
  const threadId = await on.thread();
  await makeCalls({ on, threadId }, [write("a", "1")]);
  const { log } = await makeCalls({ on, threadId }, [{ name: "fill", args: {} }]);
  expect(log.at(-1)).toMatchObject({ status: "error", code: "FAILED" });
  expect(await filesOf(on, threadId)).toEqual({ a: "1" });
});

test("a thread from before there were versions keeps what its folder has", async () => {
  const dir = machine();
  await using on = await working(dir);
  const threadId = await on.thread();
  await makeCalls({ on, threadId }, [write("a", "1")]);
  await on.db.pool.query("update checkpoints set files = null");
  await on.db.pool.query("delete from file_changes");
  await makeCalls({ on, threadId }, [write("b", "2")]);
  await removeWorkspace(dir, threadId);
  expect(await filesOf(on, threadId)).toEqual({ a: "1", b: "2" });
});

test("folders of threads that are gone are removed, and those of others are not", async () => {
  const dir = machine();
  await using on = await working(dir);
  const [kept, gone] = [await on.thread(), await on.thread()];
  for (const threadId of [kept, gone]) await makeCalls({ on, threadId }, [write("a", "1")]);
  await threadsOf(on).delete(localPrincipal, gone);
  await sweepWorkspaces(on.db.pool, dir, new Date(0));
  expect(readdirSync(join(dir, "workspaces", "default"))).toHaveLength(2);
  await sweepWorkspaces(on.db.pool, dir, new Date(Date.now() + 60_000));
  expect(readdirSync(join(dir, "workspaces", "default"))).toEqual([kept]);
});

test("deleting a thread leaves no row of its files", async () => {
  await using on = await working();
  const threadId = await on.thread();
  await upload({ on, threadId }, "up", "0");
  await makeCalls({ on, threadId }, [write("a", "1")]);
  await threadsOf(on).delete(localPrincipal, threadId);
  for (const table of ["file_contents", "file_versions", "file_changes"]) {
    expect((await on.db.pool.query(`select from ${table}`)).rowCount, table).toBe(0);
  }
});

test("whatever is written, forked, uploaded and lost, each checkpoint has the files of its step", async () => {
  const dir = machine();
  await using on = await working(dir);
  const path = fc.constantFrom("a", "b", "d/a", "d/b");
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant("write" as const), path, text: fc.constantFrom("", "x", "yy") }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("delete" as const), path }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("upload" as const), path }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("fork" as const), to: fc.nat(20) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("lose" as const) }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 8 }), async (steps) => {
      const threadId = await on.thread();
      const past: { checkpoint: Awaited<ReturnType<typeof newest>>; files: Record<string, string> }[] = [];
      let files: Record<string, string> = {};
      let from: Partial<RunCreate> = {};
      for (const one of steps) {
        if (one.kind === "fork") {
          if (past.length === 0) continue;
          const { checkpoint, files: then } = past[one.to % past.length]!;
          [files, from] = [then, { checkpoint }];
        } else if (one.kind === "lose") {
          await removeWorkspace(dir, threadId);
        } else if (one.kind === "upload") {
          if (from.checkpoint) continue; // it is for the newest checkpoint
          await upload({ on, threadId }, one.path, "up");
          files = { ...files, [one.path]: "up" };
          if (past.length > 0) past[past.length - 1] = { ...past.at(-1)!, files };
        } else {
          const call: Call =
            one.kind === "write" ? write(one.path, one.text) : { name: "delete_file", args: { file_path: one.path } };
          await makeCalls({ on, threadId }, [call], from);
          from = {};
          files = { ...files };
          if (one.kind === "write") files[one.path] = one.text;
          else delete files[one.path];
          past.push({ checkpoint: await newest(on, threadId), files });
        }
      }
      for (const { checkpoint, files: then } of past) {
        expect((await makeCalls({ on, threadId }, [look], { checkpoint })).last).toEqual(then);
      }
    }),
    { numRuns: 12, seed: 7 },
  );
});
