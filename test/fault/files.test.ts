/** A worker is killed while a call changes files: whoever goes on has the files that the results speak of, on any disk. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test, vi } from "vitest";
import { localPrincipal } from "../../lib/principal.ts";
import { closeExecutors } from "../../tools/sandbox/select.ts";
import { filesGraph } from "../support/graphs/files.ts";
import { type OtherSide, otherSide, type Stage } from "../support/other-side.ts";
import { type RunsHost, runsHost } from "../support/runs.ts";
import { spawnWorker } from "../support/server.ts";

const never = new AbortController().signal;
const dataDir = mkdtempSync(join(tmpdir(), "pawl-files-"));
/** Processes take long to start where many run at once. */
vi.setConfig({ testTimeout: 120_000 });

afterAll(() => rmSync(dataDir, { recursive: true }));

let side: OtherSide;
beforeEach(async () => {
  side = await otherSide();
  process.env["EFFECT_URL"] = side.url;
  return () => {
    delete process.env["EFFECT_URL"];
    return side[Symbol.asyncDispose]();
  };
});

const appending = (text: string) => ({
  input: { calls: [{ name: "append", id: `call-${text}`, args: { path: "notes", text } }] },
});

async function resultOf(on: RunsHost, runId: string): Promise<unknown> {
  const ended = await on.runs.join(localPrincipal, { runId: runId as never }, never);
  expect(ended).toMatchObject({ status: "success" });
  return (ended as { values: { log: { result: unknown }[] } }).values.log.at(-1)?.result;
}

test.each<[string, Stage, { here: string; there: string }]>([
  [
    "killed between the change and its record, on the same disk: the change is there once",
    "send",
    { here: "one", there: "one" },
  ],
  [
    "killed between the change and its record, on another disk: the change is there once",
    "send",
    { here: "two", there: "three" },
  ],
  [
    "killed between the record and the step, on the same disk: the change is there once",
    "after",
    { here: "four", there: "four" },
  ],
  [
    "killed between the record and the step, on another disk: the change is there once",
    "after",
    { here: "five", there: "six" },
  ],
])("%s", async (_, stage, { here, there }) => {
  await using on = await runsHost({ files: filesGraph(join(dataDir, there)) });
  await using worker = await spawnWorker({
    graphs: { files: "test/support/graphs/files.ts:graph" },
    connection: on.db.connection,
    env: { EFFECT_URL: side.url, PAWL_DATA_DIR: join(dataDir, here) },
  });
  const threadId = await on.thread();
  expect(await resultOf(on, (await on.create(threadId, appending("1"))).run_id)).toBe("1");
  const reached = side.hold(stage);
  const { run_id } = await on.create(threadId, appending("2"));
  await reached;
  await worker.kill("SIGKILL");
  await on.startWorker();
  expect(await resultOf(on, run_id)).toBe("12");
  const look = { input: { calls: [{ name: "look", args: {} }] } };
  expect(await resultOf(on, (await on.create(threadId, look)).run_id)).toEqual({ notes: "12" });
});

test("killed between the record and the step: code that remembers is not run twice", async () => {
  const repl = (id: string, code: string) => ({ input: { calls: [{ name: "javascript_repl", id, args: { code } }] } });
  await using on = await runsHost({ files: filesGraph(join(dataDir, "seven")) });
  await using worker = await spawnWorker({
    graphs: { files: "test/support/graphs/files.ts:graph" },
    connection: on.db.connection,
    env: { EFFECT_URL: side.url, PAWL_DATA_DIR: join(dataDir, "eight") },
  });
  const threadId = await on.thread();
  await resultOf(on, (await on.create(threadId, repl("call-1", "let n = 1"))).run_id);
  const reached = side.hold("after");
  const { run_id } = await on.create(threadId, repl("call-2", "n += 1"));
  await reached;
  await worker.kill("SIGKILL");
  await on.startWorker();
  expect(await resultOf(on, run_id)).toMatchObject({ value: 2 });
  expect(await resultOf(on, (await on.create(threadId, repl("call-3", "n"))).run_id)).toMatchObject({ value: 2 });
  await closeExecutors();
});
