/** The ledger in Postgres: what its rows may look like, who may change them, and what each answer of a person does. */
import { beforeEach, describe, expect, test } from "vitest";
import { isPawlError } from "../../lib/errors.ts";
import { type ThreadId, uuidv7 } from "../../lib/ids.ts";
import { localPrincipal } from "../../lib/principal.ts";
import { claimRuns } from "../../runs/claim.ts";
import type { RunCreate } from "../../runs/index.ts";
import { createThreads } from "../../runs/threads/threads.ts";
import { effectGraph } from "../support/graphs/effect.ts";
import { type OtherSide, otherSide } from "../support/other-side.ts";
import { type RunsHost, runsHost } from "../support/runs.ts";
import { answersOf, rowsOf } from "./effect-rows.ts";

const never = new AbortController().signal;

let side: OtherSide;
beforeEach(async () => {
  side = await otherSide();
  process.env["EFFECT_URL"] = side.url;
  return () => side[Symbol.asyncDispose]();
});

const host = (): Promise<RunsHost> => runsHost({ effect: effectGraph() });

async function run(on: RunsHost, threadId: ThreadId, body: Partial<RunCreate>) {
  const { run_id } = await on.create(threadId, { context: { name: "irreversible" }, ...body });
  return on.runs.join(localPrincipal, { runId: run_id }, never);
}

interface Question {
  readonly id: string;
  readonly value: Record<string, unknown>;
}

async function questions(on: RunsHost, threadId: ThreadId): Promise<Question[]> {
  const { interrupts } = await on.threadRow(threadId);
  return Object.values(interrupts as Record<string, Question[]>).flat();
}

const passDeadline = ({ db }: RunsHost, threadId: ThreadId) =>
  db.pool.query("update effects set deadline = clock_timestamp() where thread_id = $1", [threadId]);

/** A thread whose call was sent by a process that is gone. */
async function unknown(on: RunsHost): Promise<{ threadId: ThreadId; question: Question; key: string }> {
  const threadId = await on.thread();
  const workerId = uuidv7();
  const { run_id } = await on.create(threadId, { context: { name: "irreversible" } });
  const [attempt] = await claimRuns(on.db.pool, { workerId, graphs: [...on.graphs.values()], limit: 1 });
  await on.db.pool.query(
    `insert into effects (thread_id, key, run_id, epoch, name, kind, task_id, tool_call_id, deadline)
     select $1, 'call-1:' || encode(sha256('{"text":"hello"}'), 'hex'), $2, $3, 'irreversible', 'irreversible', 'gone', 'call-1',
            clock_timestamp() + interval '1 hour'`,
    [threadId, run_id, attempt!.epoch],
  );
  await on.db.pool.query("update runs set status = 'pending', worker_id = null, epoch = null where run_id = $1", [
    run_id,
  ]);
  await on.startWorker();
  expect(await on.runs.join(localPrincipal, { runId: run_id }, never)).toMatchObject({ status: "success" });
  const [question, ...more] = await questions(on, threadId);
  expect(more).toEqual([]);
  const [row] = await rowsOf(on, threadId);
  return { threadId, question: question!, key: String(row!["key"]) };
}

const said = (outcome: unknown): unknown[] =>
  (outcome as { values: { log: string[] } }).values.log.map((text) => JSON.parse(text) as unknown);

test("a call leaves a row that says all there is to know", async () => {
  await using on = await host();
  await on.startWorker();
  const threadId = await on.thread();
  expect(said(await run(on, threadId, {}))).toEqual([{ status: "ok", result: { receipt: 1 } }]);
  const [row, ...more] = await rowsOf(on, threadId);
  expect(more).toEqual([]);
  expect(row).toMatchObject({ state: "committed", kind: "irreversible", tool_call_id: "call-1", attempt: 1 });
  expect(row!["task_id"]).toMatch(/^[0-9a-f-]{36}$/);
  expect([...side.sent]).toEqual([[`${threadId}:${String(row!["key"])}`, 1]]);
  const [dispatched, deadline] = [row!["dispatched_at"], row!["deadline"]] as [Date, Date];
  expect(deadline.getTime() - dispatched.getTime()).toBe(62_000);
});

test("other arguments are another effect", async () => {
  await using on = await host();
  await on.startWorker();
  const threadId = await on.thread();
  await run(on, threadId, {});
  await run(on, threadId, { context: { name: "irreversible", text: "hello again" } });
  expect(await rowsOf(on, threadId)).toHaveLength(2);
  expect(side.sent.size).toBe(2);
});

describe("the table", () => {
  test.each([
    ["a reserved effect that was dispatched", "state = 'reserved'"],
    ["a dispatched one that is settled", "state = 'dispatched', settled_at = now(), result = null"],
    ["a dispatched one with a result", "state = 'dispatched', settled_at = null"],
    ["a committed one without a result", "result = null"],
    ["a committed one that is not settled", "settled_at = null"],
    ["an unknown one with a result", "state = 'unknown'"],
    ["an unknown one that was never dispatched", "state = 'unknown', result = null, dispatched_at = null"],
    ["a state of another name", "state = 'done'"],
  ])("refuses %s", async (_, change) => {
    await using on = await host();
    await on.startWorker();
    await run(on, await on.thread(), {});
    await expect(on.db.pool.query(`update effects set ${change}`)).rejects.toThrow("check constraint");
  });

  test("holds the rows of older processes, whatever their state", async () => {
    await using on = await host();
    const threadId = await on.thread();
    const insert = (key: string, columns: string, values: string) =>
      on.db.pool.query(
        `insert into effects (thread_id, key, run_id, epoch, name${columns}) values ($1, $2, gen_random_uuid(), 0, 'old'${values})`,
        [threadId, key],
      );
    await insert("sent", "", "");
    await insert("done", ", state, result, settled_at", ", 'committed', '1', now()");
    await insert("failed", ", state, settled_at", ", 'failed', now()");
    expect(await rowsOf(on, threadId)).toHaveLength(3);
  });
});

test("an older process's row whose outcome was lost is asked about, and counts as over after ten minutes", async () => {
  await using on = await host();
  const { threadId } = await unknown(on);
  await on.db.pool.query("update effects set deadline = null, kind = null, task_id = null, tool_call_id = null");
  expect(said(await run(on, threadId, { command: { resume: { type: "not_happened" } } }))).toEqual([]);
  await on.db.pool.query("update effects set dispatched_at = dispatched_at - interval '10 minutes'");
  const outcome = await run(on, threadId, { command: { resume: { type: "not_happened" } } });
  expect(said(outcome)).toEqual([{ status: "ok", result: { receipt: 1 } }]);
});

describe("a person says", () => {
  test("it happened: the result is stored, nothing is sent, and who said it is kept", async () => {
    await using on = await host();
    const { threadId, question, key } = await unknown(on);
    expect(question.value).toMatchObject({ kind: "effect_unknown", idempotency_key: `${threadId}:${key}`, attempt: 1 });
    const answer = { type: "happened", result: { receipt: 7 } };
    const outcome = await run(on, threadId, { command: { resume: { [question.id]: answer } } });
    expect(said(outcome)).toEqual([{ status: "ok", result: { receipt: 7 }, reported_by: "reviewer" }]);
    expect(await rowsOf(on, threadId)).toMatchObject([{ state: "committed" }]);
    expect(await answersOf(on, threadId)).toMatchObject([
      { decision: "happened", refusal: null, attempt: 1, ordinal: 0, answered_by: localPrincipal.identity },
    ]);
    expect(side.sent.size).toBe(0);
  });

  test("it did not: after the deadline it is sent, under the same key, as a second attempt", async () => {
    await using on = await host();
    const { threadId, question, key } = await unknown(on);
    await passDeadline(on, threadId);
    const outcome = await run(on, threadId, { command: { resume: { [question.id]: { type: "not_happened" } } } });
    expect(said(outcome)).toEqual([{ status: "ok", result: { receipt: 1 } }]);
    expect([...side.sent]).toEqual([[`${threadId}:${key}`, 1]]);
    expect(await rowsOf(on, threadId)).toMatchObject([{ state: "committed", attempt: 2 }]);
  });

  test("it did not, before the deadline: refused, asked again under another id, and the old id is no more", async () => {
    await using on = await host();
    const { threadId, question } = await unknown(on);
    await run(on, threadId, { command: { resume: { [question.id]: { type: "not_happened" } } } });
    const [again] = await questions(on, threadId);
    expect(again!.id).not.toBe(question.id);
    expect(again!.value["error"]).toContain("too early");
    expect(await answersOf(on, threadId)).toMatchObject([{ decision: "not_happened", refusal: "too_early" }]);
    const late = on.create(threadId, {
      context: { name: "irreversible" },
      command: { resume: { [question.id]: { type: "happened" } } },
    });
    await expect(late).rejects.toSatisfy((error) => isPawlError(error, "unknown_interrupt"));
    expect(side.sent.size).toBe(0);
  });

  test("leave it: it stays unknown, and going back asks again", async () => {
    await using on = await host();
    const { threadId, question } = await unknown(on);
    const outcome = await run(on, threadId, { command: { resume: { [question.id]: { type: "abandon" } } } });
    expect(said(outcome)).toMatchObject([{ code: "EFFECT_UNKNOWN" }]);
    expect(await rowsOf(on, threadId)).toMatchObject([{ state: "unknown" }]);
    await run(on, threadId, {});
    expect(await questions(on, threadId)).toMatchObject([{ value: { kind: "effect_unknown" } }]);
    expect(side.sent.size).toBe(0);
  });
});

test("of two who answer at once one decides, the other is told, and the answer counts once", async () => {
  await using on = await host();
  const { threadId, question } = await unknown(on);
  const answer = (result: number) =>
    run(on, threadId, {
      command: { resume: { [question.id]: { type: "happened", result } } },
      multitask_strategy: "reject",
    });
  const outcomes = await Promise.allSettled([answer(1), answer(2)]);
  expect(outcomes.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
  expect(await answersOf(on, threadId)).toHaveLength(1);
  const second = answer(3);
  await expect(second).rejects.toSatisfy((error) => isPawlError(error));
  expect(await answersOf(on, threadId)).toHaveLength(1);
});

describe("a thread that is", () => {
  test("taken back to before the call does not send again what was done", async () => {
    await using on = await host();
    await on.startWorker();
    const threadId = await on.thread();
    await run(on, threadId, {});
    const { rows } = await on.db.pool.query(
      "select checkpoint_id from checkpoints where thread_id = $1 order by seq limit 1",
      [threadId],
    );
    const checkpoint = { checkpoint_id: rows[0].checkpoint_id as string, checkpoint_ns: "" };
    const outcome = await run(on, threadId, { input: null, checkpoint });
    expect(said(outcome)).toEqual([{ status: "ok", result: { receipt: 1 } }]);
    expect([...side.sent.values()]).toEqual([1]);
  });

  test("rolled back keeps its rows: the run that answers next finds what happened", async () => {
    await using on = await host();
    await on.startWorker();
    const threadId = await on.thread();
    const held = side.hold("after");
    const { run_id } = await on.create(threadId, { context: { name: "irreversible" } });
    await held;
    await on.runs.cancel(localPrincipal, { runId: run_id }, { action: "rollback", wait: never });
    expect(await rowsOf(on, threadId)).toMatchObject([{ state: "committed" }]);
    expect(said(await run(on, threadId, {}))).toEqual([{ status: "ok", result: { receipt: 1 } }]);
    expect([...side.sent.values()]).toEqual([1]);
  });

  test("copied goes on as the original would: done is done, and unknown is asked, under the original's key", async () => {
    await using on = await host();
    const { threadId, key } = await unknown(on);
    await run(on, threadId, { command: { resume: { type: "not_happened" } } });
    await on.db.pool.query(
      `insert into effects (thread_id, key, run_id, epoch, name, state, attempt, dispatched_at)
       values ($1, 'not sent', gen_random_uuid(), 0, 'x', 'reserved', 0, null)`,
      [threadId],
    );
    const threads = createThreads({ pool: on.db.pool, graphs: on.graphs });
    const copy = await threads.copy(localPrincipal, threadId);
    const copyId = copy.thread_id;
    expect(await rowsOf(on, copyId)).toMatchObject([{ key, state: "unknown", idempotency_key: `${threadId}:${key}` }]);
    await passDeadline(on, copyId);
    const [question] = await questions(on, copyId);
    expect(question!.value["idempotency_key"]).toBe(`${threadId}:${key}`);
    const outcome = await run(on, copyId, { command: { resume: { [question!.id]: { type: "not_happened" } } } });
    expect(said(outcome)).toEqual([{ status: "ok", result: { receipt: 1 } }]);
    expect([...side.sent]).toEqual([[`${threadId}:${key}`, 1]]);
    expect(await rowsOf(on, threadId)).toMatchObject([{ state: "unknown" }, { state: "reserved" }]);
  });

  test("deleted takes its rows along", async () => {
    await using on = await host();
    const { threadId } = await unknown(on);
    await run(on, threadId, { command: { resume: { type: "not_happened" } } });
    const threads = createThreads({ pool: on.db.pool, graphs: on.graphs });
    await threads.delete(localPrincipal, threadId);
    expect(await rowsOf(on, threadId)).toEqual([]);
    expect(await answersOf(on, threadId)).toEqual([]);
  });
});
