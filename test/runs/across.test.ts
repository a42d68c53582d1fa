/** Two processes on one database: one accepts and listens, the other executes. They share nothing but Postgres. */
import { getWriter } from "@langchain/langgraph";
import { expect, test } from "vitest";
import { localPrincipal } from "../../lib/principal.ts";
import type { RunEvent, Runs } from "../../runs/index.ts";
import { oneNode, type RunsHost, runsHost } from "../support/runs.ts";

const never = new AbortController().signal;

/** Writes `one`, waits for the gate, then writes `two`. */
function gatedWriter() {
  const gate = Promise.withResolvers<void>();
  const graph = oneNode(async (_state, config) => {
    const write = getWriter(config);
    write?.("one");
    await gate.promise;
    write?.("two");
    return { log: ["done"] };
  });
  return { graph, open: gate.resolve };
}

async function createAt(runs: Runs, host: RunsHost, body: object = {}) {
  const threadId = await host.thread();
  return runs.create(
    localPrincipal,
    { assistant_id: "graph", input: {}, stream_mode: ["custom"], ...body },
    { threadId },
  );
}

test("a run that was accepted elsewhere is executed here, and its events arrive there before it ends", async () => {
  const { graph, open } = gatedWriter();
  await using host = await runsHost({ graph });
  await host.startWorker();
  const api = await host.elsewhere();
  const run = await createAt(api, host);
  const seen: unknown[] = [];
  for await (const { event, data } of await api.events(
    localPrincipal,
    { runId: run.run_id },
    { after: "-1", signal: never },
  )) {
    seen.push([event, data]);
    if (data === "one") open(); // the run waits until we have seen this
  }
  expect(seen).toEqual([
    ["metadata", { run_id: run.run_id, attempt: 1 }],
    ["custom", "one"],
    ["custom", "two"],
  ]);
  expect(await api.join(localPrincipal, { runId: run.run_id }, never)).toMatchObject({
    status: "success",
    values: { log: ["done"] },
  });
});

test("every reader gets the same events under the same ids, wherever it is and whenever it comes", async () => {
  const { graph, open } = gatedWriter();
  await using host = await runsHost({ graph });
  await host.startWorker();
  const api = await host.elsewhere();
  const run = await createAt(api, host, { stream_resumable: true });
  const read = async (runs: Runs, after?: string): Promise<RunEvent[]> =>
    Array.fromAsync(
      await runs.events(
        localPrincipal,
        { runId: run.run_id },
        { signal: never, ...(after !== undefined && { after }) },
      ),
    );
  const readers = [read(host.runs), read(api), read(host.runs, "-1"), read(api, "-1")];
  open();
  const [first, ...others] = await Promise.all(readers);
  expect(first).toHaveLength(3);
  for (const other of others) expect(other).toEqual(first);
  expect(await read(api)).toEqual(first);
  expect(await read(api, first![1]!.id)).toEqual(first!.slice(2));
});

test("a run that executes in another process is cancelled, and its node aborted", async () => {
  const aborted = Promise.withResolvers<void>();
  const started = Promise.withResolvers<void>();
  await using host = await runsHost({
    graph: oneNode(async (_state, { signal }) => {
      started.resolve();
      return new Promise((_, reject) =>
        signal?.addEventListener("abort", () => {
          aborted.resolve();
          reject(new Error("stopped"));
        }),
      );
    }),
  });
  await host.startWorker();
  const api = await host.elsewhere();
  const run = await createAt(api, host);
  await started.promise;
  await api.cancel(localPrincipal, { runId: run.run_id }, { action: "interrupt", wait: never });
  await aborted.promise;
  expect((await api.get(localPrincipal, { runId: run.run_id })).status).toBe("interrupted");
});

test("a stateless run's values reach a waiter in another process though its thread is gone", async () => {
  await using host = await runsHost({ graph: oneNode(async () => ({ log: ["worked"] })) });
  await host.startWorker();
  const api = await host.elsewhere();
  const run = await api.create(localPrincipal, { assistant_id: "graph", input: { log: ["x"] } }, {});
  expect(await api.join(localPrincipal, { runId: run.run_id }, never)).toEqual({
    status: "success",
    values: { log: ["x", "worked"] },
  });
});

test("a reader that is far behind its run misses nothing", async () => {
  const many = 5_000;
  await using host = await runsHost({
    graph: oneNode(async (_state, config) => {
      for (let i = 0; i < many; i++) getWriter(config)?.(i);
      return { log: ["done"] };
    }),
  });
  await host.startWorker();
  const run = await createAt(host.runs, host);
  const events = await host.runs.events(localPrincipal, { runId: run.run_id }, { after: "-1", signal: never });
  const numbers: unknown[] = [];
  for await (const { event, data } of events) {
    if (event === "custom") numbers.push(data);
    if (numbers.length === 1) await host.runs.join(localPrincipal, { runId: run.run_id }, never);
  }
  expect(numbers).toEqual(Array.from({ length: many }, (_, i) => i));
});

test("who gives up waiting for a cancel, because no worker is there, waits no longer", async () => {
  await using host = await runsHost({ graph: oneNode(async () => ({})) });
  const run = await createAt(host.runs, host);
  await host.db.pool.query("update runs set started_at = now()"); // as one that a dead worker left
  const left = new AbortController();
  const cancelled = host.runs.cancel(localPrincipal, { runId: run.run_id }, { action: "interrupt", wait: left.signal });
  left.abort(new Error("left"));
  await expect(cancelled).rejects.toThrow("left");
});
