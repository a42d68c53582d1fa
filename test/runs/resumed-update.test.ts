/** An answer that comes with an update, a way to go or a checkpoint, when the process that has taken it dies. */
import { interrupt, StateGraph } from "@langchain/langgraph";
import { expect, test } from "vitest";
import { localPrincipal } from "../../lib/principal.ts";
import type { RunCommand } from "../../runs/index.ts";
import { Log, type RunsHost, runsHost } from "../support/runs.ts";

const never = new AbortController().signal;

/** By what they ask. */
async function questions(host: RunsHost, threadId: string): Promise<Map<unknown, string>> {
  const { rows } = await host.db.pool.query("select interrupts from threads where thread_id = $1", [threadId]);
  const all = Object.values(rows[0].interrupts as Record<string, { id: string; value: unknown }[]>).flat();
  return new Map(all.map(({ id, value }) => [value, id]));
}

/** Asks on the left and on the right; on the right it may be held up before, for ever. */
function twoAskers() {
  const entered = Promise.withResolvers<void>();
  let isHeldUp = false;
  const right = async () => {
    if (isHeldUp) {
      isHeldUp = false;
      entered.resolve();
      await new Promise(() => {}); // until its process is gone
    }
    return { log: [`right: ${interrupt<string, string>("right?")}`] };
  };
  const graph = new StateGraph(Log)
    .addNode("left", () => ({ log: [`left: ${interrupt<string, string>("left?")}`] }))
    .addNode("right", right)
    .addNode("beside", () => ({ log: ["beside"] }))
    .addConditionalEdges("__start__", () => ["left", "right"], ["left", "right", "beside"])
    .compile();
  return { graph, entered: entered.promise, holdUp: () => (isHeldUp = true) };
}

interface Case {
  readonly what: string;
  readonly command: RunCommand;
  readonly log: readonly string[];
  /** The question is not the thread's newest. */
  readonly isEarlier?: boolean;
}

test.each<Case>([
  { what: "an update", command: { update: { log: ["updated"] } }, log: ["updated"] },
  { what: "a node to go to", command: { goto: "beside" }, log: ["beside"] },
  { what: "both", command: { update: { log: ["updated"] }, goto: "beside" }, log: ["beside", "updated"] },
  { what: "the checkpoint", command: {}, log: [], isEarlier: true },
])("an answer that was taken is not lost, nor $what that came with it, when its process dies", async (given) => {
  const { command, log, isEarlier = false } = given;
  const { graph, entered, holdUp } = twoAskers();
  await using host = await runsHost({ graph });
  const { pool } = host.db;
  const join = (run: { run_id: Awaited<ReturnType<RunsHost["create"]>>["run_id"] }) =>
    host.runs.join(localPrincipal, { runId: run.run_id }, never);
  const worker = await host.startWorker();
  const threadId = await host.thread();
  await join(await host.create(threadId));
  const asked = await questions(host, threadId);
  const { rows } = await pool.query("select checkpoint_id from checkpoints order by seq desc limit 1");
  if (isEarlier) await join(await host.create(threadId));
  const answer = (question: string, said: string, more: RunCommand = {}) =>
    host.create(threadId, {
      command: { resume: { [asked.get(question)!]: said }, ...more },
      ...(isEarlier && { checkpoint_id: rows[0].checkpoint_id }),
    });

  holdUp();
  const left = await answer("left?", "yes", command);
  await entered;
  const results = `
    select from checkpoint_writes
     where channel = 'log' and task_id in (select task_id from checkpoint_writes where channel = '__resume__' and run_id = $1)`;
  const hasResult = async () => (await pool.query(results, [left.run_id])).rowCount === 1;
  await expect.poll(hasResult, { timeout: 10_000 }).toBe(true);
  await worker.close(0);
  await host.startWorker();
  await join(left);
  if (!isEarlier) expect([...(await questions(host, threadId)).keys()]).toEqual(["right?"]);
  expect((await pool.query("select from checkpoints where metadata ->> 'source' = 'fork'")).rowCount).toBe(0);

  const last = await answer("right?", "no");
  const { values } = await join(last);
  expect((values as { log: string[] }).log.toSorted()).toEqual([...log, "left: yes", "right: no"].toSorted());
});

test("a process that dies when a task has its answer and asks again leaves the second question open", async () => {
  const entered = Promise.withResolvers<void>();
  let isHeldUp = false;
  const graph = new StateGraph(Log)
    .addNode("asks twice", () => ({ log: [interrupt<string, string>("first?"), interrupt<string, string>("second?")] }))
    .addNode("beside", async () => {
      if (isHeldUp) {
        entered.resolve();
        await new Promise(() => {}); // until its process is gone
      }
      return { log: [interrupt<string, string>("beside?")] };
    })
    .addConditionalEdges("__start__", () => ["asks twice", "beside"])
    .compile();
  await using host = await runsHost({ graph });
  const { pool } = host.db;
  const worker = await host.startWorker();
  const threadId = await host.thread();
  const join = async (run: ReturnType<RunsHost["create"]>) =>
    host.runs.join(localPrincipal, { runId: (await run).run_id }, never);
  const answer = (question: string | undefined, value: string) =>
    host.create(threadId, { command: { resume: { [question!]: value } } });
  await join(host.create(threadId));
  isHeldUp = true;
  const resumed = answer((await questions(host, threadId)).get("first?"), "one");
  await entered.promise;
  const taken = "select from checkpoint_writes where channel = '__resume__'";
  // The answer as it came with the run, and as its task has it, which has asked again.
  await expect.poll(async () => (await pool.query(taken)).rowCount, { timeout: 10_000 }).toBe(2);
  isHeldUp = false;
  await worker.close(0);
  await host.startWorker();
  await join(resumed);
  const open = await questions(host, threadId);
  expect(new Set(open.keys())).toEqual(new Set(["second?", "beside?"]));
  await join(answer(open.get("beside?"), "beside"));
  expect(await join(answer(open.get("second?"), "two"))).toMatchObject({ values: { log: ["one", "two", "beside"] } });
});
