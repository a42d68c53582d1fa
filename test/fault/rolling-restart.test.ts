/** A deployment under load: processes are replaced one by one behind a load balancer, and the stock client notices nothing. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "@langchain/langgraph-sdk";
import { expect, test } from "vitest";
import { balance } from "../support/balancer.ts";
import { testDatabase } from "../support/database.ts";
import { spawnServer } from "../support/server.ts";

const STEPS = 8;
const steps = Array.from({ length: STEPS }, (_, step) => step);

test(
  "three processes are replaced under load: every run succeeds, no step is done twice, no client sees an error",
  { timeout: 300_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "pawl-rolling-"));
    const file = join(folder, "steps");
    await using rest = new AsyncDisposableStack();
    rest.defer(() => rm(folder, { recursive: true }));
    const database = rest.use(await testDatabase());
    const balancer = rest.use(await balance());
    const graphs = { counted: "test/support/graphs/counted.ts:graph" };
    const start = async () => {
      const server = rest.use(await spawnServer({ graphs, ...database }));
      balancer.ports.add(Number(new URL(server.url).port));
      return server;
    };
    const old = [await start(), await start(), await start()];
    const client = new Client({ apiUrl: balancer.url });

    const over = new AbortController();
    const finished: string[] = [];
    const oneAfterTheOther = async (lane: number) => {
      for (let n = 0; !over.signal.aborted; n++) {
        const name = `${lane}-${n}`;
        const { thread_id } = await client.threads.create();
        const input = { file, name, steps: STEPS, ms: 150 };
        const ids: bigint[] = [];
        const told: unknown[] = [];
        for await (const { event, data, id } of client.runs.stream(thread_id, "counted", {
          input,
          streamMode: ["updates"],
        })) {
          if (id !== undefined) ids.push(BigInt(id));
          if (event === "updates") told.push((data as { step: { log: number[] } }).step.log[0]);
          if (event === "error") throw new Error(JSON.stringify(data));
        }
        expect(told).toEqual(steps);
        expect(ids.every((id, i) => i === 0 || id > ids[i - 1]!)).toBe(true);
        finished.push(name);
      }
    };
    const waiting = async () => {
      for (let n = 0; !over.signal.aborted; n++) {
        const name = `waiting-${n}`;
        const { thread_id } = await client.threads.create();
        const input = { file, name, steps: STEPS, ms: 150 };
        expect(await client.runs.wait(thread_id, "counted", { input })).toMatchObject({ log: steps });
        finished.push(name);
      }
    };
    const load = Promise.all([...[0, 1, 2].map(oneAfterTheOther), waiting()]);
    for (const server of old) {
      const next = finished.length + 3;
      await Promise.race([load, expect.poll(() => finished.length, { timeout: 120_000 }).toBeGreaterThanOrEqual(next)]);
      await start();
      expect(await server.kill("SIGTERM")).toBe(0);
      balancer.ports.delete(Number(new URL(server.url).port));
    }
    over.abort();
    await load;

    const { rows } = await database.pool.query("select status, suspect, count(*)::int from runs group by 1, 2");
    expect(rows).toEqual([{ status: "success", suspect: false, count: finished.length }]);
    const lines = (await readFile(file, "utf8")).trim().split("\n");
    expect(lines.toSorted()).toEqual(
      finished.flatMap((name) => Array.from({ length: STEPS }, (_, i) => `${name} ${i}`)).toSorted(),
    );
    const { rows: moved } = await database.pool.query("select from runs where attempt > 1");
    expect(moved.length).toBeGreaterThan(0); // else nothing was shown
  },
);
