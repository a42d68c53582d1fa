/**
 * A real worker is killed at each stage of a call with an effect; another goes on. The other side is a server that
 * counts what it was sent, by key. Each test says how often a thing was sent, and whether a person was asked.
 */
import pg from "pg";
import { beforeEach, describe, expect, test, vi } from "vitest";
import type { ThreadId } from "../../lib/ids.ts";
import { localPrincipal } from "../../lib/principal.ts";
import { effectGraph } from "../support/graphs/effect.ts";
import { type OtherSide, otherSide, type Stage } from "../support/other-side.ts";
import { type RunsHost, runsHost } from "../support/runs.ts";
import { spawnWorker } from "../support/server.ts";

const never = new AbortController().signal;
/** Processes take long to start where many run at once. */
vi.setConfig({ testTimeout: 120_000 });

let side: OtherSide;
beforeEach(async () => {
  side = await otherSide();
  process.env["EFFECT_URL"] = side.url;
  return () => side[Symbol.asyncDispose]();
});

const victim = ({ db }: RunsHost, env: Record<string, string> = {}) =>
  spawnWorker({
    graphs: { effect: "test/support/graphs/effect.ts:graph" },
    connection: db.connection,
    env: { EFFECT_URL: side.url, ...env },
  });

interface Question {
  readonly id: string;
  readonly value: Record<string, unknown>;
}

interface Outcome {
  readonly results: unknown[];
  readonly question: Question | undefined;
  readonly sent: number[];
}

async function outcomeOf(on: RunsHost, threadId: ThreadId, runId: string): Promise<Outcome> {
  const ended = await on.runs.join(localPrincipal, { runId: runId as never }, never);
  expect(ended).toMatchObject({ status: "success" });
  const { values, interrupts } = await on.threadRow(threadId);
  const [question] = Object.values(interrupts as Record<string, Question[]>).flat();
  const results = (values as { log: string[] }).log.map((text) => JSON.parse(text) as unknown);
  return { results, question, sent: [...side.sent.values()] };
}

/** The worker that executes the run is killed as soon as it is at `stage`; one of this process, alive by then, goes on. */
async function killedAt(on: RunsHost, stage: Stage, create: () => Promise<{ thread_id: ThreadId; run_id: string }>) {
  await using worker = await victim(on);
  const reached = side.hold(stage);
  const { thread_id, run_id } = await create();
  await reached;
  const other = await on.startWorker();
  await worker.kill("SIGKILL");
  return { threadId: thread_id, other, ...(await outcomeOf(on, thread_id, run_id)) };
}

async function calledAndKilledAt(on: RunsHost, name: string, stage: Stage) {
  const threadId = await on.thread();
  return killedAt(on, stage, () => on.create(threadId, { context: { name } }));
}

const answering = (on: RunsHost, threadId: ThreadId, resume: unknown) =>
  on.create(threadId, { context: { name: "irreversible" }, command: { resume } });

async function answer(on: RunsHost, threadId: ThreadId, resume: unknown): Promise<Outcome> {
  return outcomeOf(on, threadId, (await answering(on, threadId, resume)).run_id);
}

const passDeadline = ({ db }: RunsHost) => db.pool.query("update effects set deadline = clock_timestamp()");

const host = (): Promise<RunsHost> => runsHost({ effect: effectGraph() });
const received = [{ status: "ok", result: { receipt: 1 } }];

test.each(["irreversible", "idempotent"])(
  "killed before the dispatch is recorded: an effect that is %s is sent once, and nobody is asked",
  async (name) => {
    await using on = await host();
    const lock = new pg.Client(on.db.connection);
    await lock.connect();
    await lock.query(`
      create function wait() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock(7); return new; end $$;
      create trigger wait before update on effects for each row when (new.state = 'dispatched') execute function wait()`);
    await lock.query("select pg_advisory_lock(7)");
    await using worker = await victim(on);
    const threadId = await on.thread();
    const { run_id } = await on.create(threadId, { context: { name } });
    const waiting = "select pid from pg_locks where locktype = 'advisory' and objid = 7 and not granted";
    await expect.poll(async () => (await lock.query(waiting)).rowCount, { timeout: 60_000 }).toBe(1);
    expect((await lock.query("select state, attempt from effects")).rows).toEqual([{ state: "reserved", attempt: 0 }]);
    await worker.kill("SIGKILL");
    // Its backend would only notice when the lock is free, and then commit.
    await lock.query(`select pg_terminate_backend(pid) from (${waiting}) blocked`);
    await lock.query("select pg_advisory_unlock(7)");
    await lock.end();
    await on.startWorker();
    expect(await outcomeOf(on, threadId, run_id)).toEqual({ results: received, question: undefined, sent: [1] });
  },
);

describe("killed between the dispatch and the effect", () => {
  test("an irreversible effect is not sent, a person says so, and then it is sent once", async () => {
    await using on = await host();
    const { threadId, question, results, sent } = await calledAndKilledAt(on, "irreversible", "before");
    expect([results, sent]).toEqual([[], []]);
    expect(question!.value).toMatchObject({ kind: "effect_unknown", attempt: 1 });
    await passDeadline(on);
    const decided = await answer(on, threadId, { [question!.id]: { type: "not_happened" } });
    expect(decided).toEqual({ results: received, question: undefined, sent: [1] });
  });

  test("an idempotent effect is sent by whoever goes on", async () => {
    await using on = await host();
    expect(await calledAndKilledAt(on, "idempotent", "before")).toMatchObject({ results: received, sent: [1] });
  });

  test("a tool that asks the other side is believed once nothing can be sent any more", async () => {
    await using on = await host();
    await using worker = await victim(on);
    const reached = side.hold("before");
    const threadId = await on.thread();
    const { run_id } = await on.create(threadId, { context: { name: "reconciled" } });
    await reached;
    await worker.kill("SIGKILL");
    await passDeadline(on);
    await on.startWorker();
    expect(await outcomeOf(on, threadId, run_id)).toEqual({ results: received, question: undefined, sent: [1] });
  });
});

describe("killed between the effect and its record", () => {
  test("an irreversible effect is not sent again: a person gives the result", async () => {
    await using on = await host();
    const { threadId, question, results, sent } = await calledAndKilledAt(on, "irreversible", "send");
    expect([results, sent]).toEqual([[], [1]]);
    const decided = await answer(on, threadId, { [question!.id]: { type: "happened", result: { receipt: 1 } } });
    expect(decided).toEqual({
      results: [{ ...received[0], reported_by: "reviewer" }],
      question: undefined,
      sent: [1],
    });
  });

  test("an idempotent effect is sent again under the same key", async () => {
    await using on = await host();
    expect(await calledAndKilledAt(on, "idempotent", "send")).toMatchObject({
      results: [{ status: "ok", result: { receipt: 2 } }],
      sent: [2],
    });
  });

  test("a tool that asks the other side gets the result from there", async () => {
    await using on = await host();
    expect(await calledAndKilledAt(on, "reconciled", "send")).toMatchObject({
      results: received,
      sent: [1],
      question: undefined,
    });
  });
});

test.each(["irreversible", "idempotent", "reconciled"])(
  "killed between the record and the step: the stored result of an effect that is %s is used",
  async (name) => {
    await using on = await host();
    expect(await calledAndKilledAt(on, name, "after")).toMatchObject({
      results: received,
      sent: [1],
      question: undefined,
    });
  },
);

test("killed again while it does what a person decided: the old answer does not answer the new question", async () => {
  await using on = await host();
  const { threadId, question, other } = await calledAndKilledAt(on, "irreversible", "before");
  await other.close(0);
  await passDeadline(on);
  const again = await killedAt(on, "before", () =>
    answering(on, threadId, { [question!.id]: { type: "not_happened" } }),
  );
  expect(again).toMatchObject({ results: [], sent: [], question: { value: { kind: "effect_unknown", attempt: 2 } } });
  expect(again.question!.id).not.toBe(question!.id);
  await passDeadline(on);
  const decided = await answer(on, threadId, { [again.question!.id]: { type: "not_happened" } });
  expect(decided).toEqual({ results: received, question: undefined, sent: [1] });
});

test("a sender that is stopped past its deadline and goes on: its late result lands nowhere, and a person decides", async () => {
  await using on = await host();
  await using worker = await victim(on, { PAWL_LEASE_SECONDS: "2" });
  const reached = side.hold("send");
  const threadId = await on.thread();
  const { run_id } = await on.create(threadId, { context: { name: "irreversible" } });
  const answerLate = await reached;
  worker.process.kill("SIGSTOP");
  await on.startWorker({ leaseSeconds: 2 });
  const asked = await outcomeOf(on, threadId, run_id);
  expect(asked).toMatchObject({ results: [], sent: [1], question: { value: { kind: "effect_unknown", attempt: 1 } } });
  await passDeadline(on);
  const rows = async () => (await on.db.pool.query("select * from effects")).rows;
  const before = await rows();
  expect(before).toMatchObject([{ state: "unknown" }]);

  answerLate();
  worker.process.kill("SIGCONT");
  await worker.written(/run (given back|left to the queue)/); // it has tried to record the result by then
  expect(await rows()).toEqual(before);
  const decided = await answer(on, threadId, { [asked.question!.id]: { type: "happened", result: { receipt: 1 } } });
  expect(decided).toEqual({ results: [{ ...received[0], reported_by: "reviewer" }], question: undefined, sent: [1] });
});
