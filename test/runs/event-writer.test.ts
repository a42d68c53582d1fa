/** The log of one attempt, where it is not known whether a row has landed. */
import { expect, test } from "vitest";
import { uuidv7 } from "../../lib/ids.ts";
import { claimRuns } from "../../runs/claim.ts";
import { Hub } from "../../runs/events/hub.ts";
import type { LogRow } from "../../runs/events/log-rows.ts";
import { EventWriter } from "../../runs/events/writer.ts";
import { type Ending, finishRun } from "../../runs/finish.ts";
import { oneNode, type RunsHost, runsHost } from "../support/runs.ts";

const signals = { send() {}, on: () => () => {}, close: async () => {} };
const graph = oneNode(async () => ({}));

/** A claimed run whose writer has been given two events. */
async function attempt(host: RunsHost) {
  const { graphs } = host;
  const { pool } = host.db;
  await host.create(await host.thread());
  const [run] = await claimRuns(pool, { workerId: uuidv7(), graphs: [...graphs.values()], limit: 1 });
  const onFailure = (error: Error): never => {
    throw error;
  };
  const writer = new EventWriter({
    pool,
    encryption: undefined,
    hub: new Hub(),
    signals,
    owner: run!,
    run: run!,
    onFailure,
  });
  await writer.push("values", { n: 1 });
  await writer.push("values", { n: 2 });
  const end = (log: LogRow): Ending => ({
    status: "success",
    isRolledBack: false,
    isAnswered: false,
    log,
  });
  return { run: run!, writer, end };
}

/** What each event in the log says, and how the log ends. */
async function logOf({ db }: RunsHost): Promise<unknown[]> {
  const { rows } = await db.pool.query<{ events: string; outcome: string | null }>(
    "select events, outcome from thread_events order by last_seq",
  );
  return rows.flatMap(({ events, outcome }) => [
    ...(JSON.parse(events) as { data: { n: number } }[]).map(({ data }) => data.n),
    ...(outcome === null ? [] : [(JSON.parse(outcome) as { status: string }).status]),
  ]);
}

test("an end that has landed, though its answer was lost, leaves each event in the log once", async () => {
  await using host = await runsHost({ graph });
  const { run, writer, end } = await attempt(host);
  await finishRun(host.db.pool, run, end(await writer.lastRow()));
  await writer.flush(); // as the attempt does, which knows nothing of that
  expect(await logOf(host)).toEqual([1, 2, "success"]);
});

test("an end that has not landed loses no event, nor does the one that is tried after it", async () => {
  await using host = await runsHost({ graph });
  const { run, writer, end } = await attempt(host);
  await writer.lastRow();
  const second = await writer.lastRow();
  expect(await logOf(host)).toEqual([1, 2]);
  await finishRun(host.db.pool, run, end(second));
  expect(await logOf(host)).toEqual([1, 2, "success"]);
});

test("events that have landed with a checkpoint, though its answer was lost, are in the log once, and those after it too", async () => {
  await using host = await runsHost({ graph });
  const { run, writer, end } = await attempt(host);
  const cut = new Error("cut");
  const written = writer.writeWith(async (row) => {
    await host.db.pool.query(
      "insert into thread_events (thread_id, last_seq, run_id, events) values ($1, $2, $3, $4)",
      [run.thread_id, row?.seq, run.run_id, row?.events],
    );
    throw cut;
  });
  await writer.push("values", { n: 3 });
  await expect(written).rejects.toBe(cut);
  await finishRun(host.db.pool, run, end(await writer.lastRow()));
  expect(await logOf(host)).toEqual([1, 2, 3, "success"]);
});

test("events of a checkpoint that was refused are told before the next one", async () => {
  await using host = await runsHost({ graph });
  const { writer } = await attempt(host);
  await expect(writer.writeWith(() => Promise.reject(new Error("refused")))).rejects.toThrow("refused");
  await writer.push("values", { n: 3 });
  await writer.writeWith(async (row) => expect(row?.events).toContain('"n":3'));
  expect(await logOf(host)).toEqual([1, 2]);
});
