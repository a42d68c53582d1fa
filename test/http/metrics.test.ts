/** `GET /metrics`, and what a node that blocks its process shows there. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { oneNode } from "../support/runs.ts";
import { fileExists } from "../fault/graphs.ts";
import { testDatabase } from "../support/database.ts";
import { spawnServer, spawnWorker, testServer } from "../support/server.ts";

const valueOf = (text: string, name: string): number => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);

test("the figures of queue, workers and pools, under the names that dashboards know", async () => {
  const entered = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const graph = oneNode(async () => {
    entered.resolve();
    await gate.promise;
    return {};
  });
  await using server = await testServer({ graphs: { graph }, env: { PAWL_WORKER_CONCURRENCY: "3" } });
  const { client } = server;
  const { thread_id } = await client.threads.create();
  const first = await client.runs.create(thread_id, "graph", { input: {} });
  await entered.promise;
  const second = await client.runs.create(thread_id, "graph", { input: {} });
  const response = await fetch(`${server.url}/metrics`);
  expect(response.headers.get("content-type")).toMatch(/^text\/plain/);
  const text = await response.text();
  const figures = {
    lg_api_num_pending_runs: 1,
    lg_api_num_running_runs: 1,
    lg_api_workers_max: 3,
    lg_api_workers_active: 1,
    lg_api_workers_available: 2,
    'lg_api_pg_pool_max{pool="api"}': 10,
    pawl_suspect_runs: 0,
  };
  for (const [name, value] of Object.entries(figures)) expect([name, valueOf(text, name)]).toEqual([name, value]);
  expect(text).toMatch(
    /^lg_api_http_requests_total\{method="POST",path="\/threads\/:thread_id\/runs",status="200"\} 2$/m,
  );
  expect(text).toMatch(/^pawl_event_loop_lag_seconds\{quantile="0.99"\} \d/m);
  gate.resolve();
  await Promise.all([first, second].map(({ run_id }) => client.runs.join(thread_id, run_id)));
  const json = (await (await fetch(`${server.url}/metrics?format=json`)).json()) as {
    name: string;
    values: unknown[];
  }[];
  expect(json.find(({ name }) => name === "lg_api_num_running_runs")?.values).toEqual([{ labels: {}, value: 0 }]);
  expect((await fetch(`${server.url}/metrics?format=xml`)).status).toBe(422);
});

test(
  "a node that computes without a pause shows as the lag of its worker, and the API of another process answers meanwhile",
  { timeout: 120_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "pawl-lag-"));
    await using rest = new AsyncDisposableStack();
    rest.defer(() => rm(folder, { recursive: true }));
    const database = rest.use(await testDatabase());
    const options = {
      graphs: { busy: "test/support/graphs/busy.ts:graph" },
      ...database,
      env: { PAWL_LEASE_SECONDS: "3" },
    };
    const server = rest.use(await spawnServer({ ...options, args: ["--no-workers"] }));
    rest.use(await spawnWorker({ ...options, env: { ...options.env, LOG_LEVEL: "warn" } }));
    const { thread_id } = await server.client.threads.create();
    const run = await server.client.runs.create(thread_id, "busy", { input: { folder } });
    await fileExists(join(folder, "entered"));
    const lag = async (): Promise<number> => {
      const text = await (await fetch(`${server.url}/metrics`)).text();
      return Number(/^pawl_worker_event_loop_lag_seconds\{.*\} (\S+)$/m.exec(text)?.[1]);
    };
    await expect.poll(lag, { timeout: 60_000 }).toBeGreaterThan(6); // twice the lease, while it is blocked
    await writeFile(join(folder, "go"), "");
    await expect
      .poll(async () => (await server.client.runs.get(thread_id, run.run_id)).status, { timeout: 60_000 })
      .toBe("success");
    const { rows } = await database.pool.query("select attempt from runs");
    expect(rows).toEqual([{ attempt: 1 }]);
  },
);
