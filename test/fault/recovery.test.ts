/** Real processes that die, stop or lose their line in the middle of runs, seen through another process. */
import { appendFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { testDatabase, type TestDatabase } from "../support/database.ts";
import { spawnServer, spawnWorker, type SpawnedServer, urlOf } from "../support/server.ts";
import { silentProxy } from "../support/silent-proxy.ts";

const counted = "test/support/graphs/counted.ts";
const graphs = { counted: `${counted}:graph`, parallel: `${counted}:parallel`, questions: `${counted}:questions` };

vi.setConfig({ testTimeout: 180_000 }); // a process needs a second of CPU to start, and others may need it too

let rest: AsyncDisposableStack;
let database: TestDatabase;
let server: SpawnedServer;
/** Where nodes write down what they do. */
let file: string;

beforeEach(async () => {
  rest = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "pawl-recovery-"));
  rest.defer(() => rm(folder, { recursive: true }));
  file = join(folder, "steps");
  database = rest.use(await testDatabase());
  server = rest.use(await spawnServer({ graphs, ...database, args: ["--no-workers"] }));
});
afterEach(() => rest.disposeAsync());

async function worker(leaseSeconds: number, connection = database.connection) {
  const env = { PAWL_LEASE_SECONDS: String(leaseSeconds), LOG_LEVEL: "info" };
  return rest.use(await spawnWorker({ graphs, connection, env }));
}

const done = async (): Promise<string[]> => (await readFile(file, "utf8").catch(() => "")).split("\n").slice(0, -1);

async function dump(): Promise<unknown> {
  const tables = ["runs", "threads", "thread_owner", "checkpoints", "checkpoint_writes", "thread_events", "effects"];
  return Promise.all(
    tables.map(async (table) => (await database.pool.query(`select * from ${table} order by 1, 2, 3`)).rows),
  );
}

/** Begins a run and reads all its events through the server, which executes nothing. */
async function begin(graph: keyof typeof graphs, input: object) {
  const { thread_id } = await server.client.threads.create();
  const seen: { id: bigint; event: string; data: unknown }[] = [];
  const ended = (async () => {
    const stream = server.client.runs.stream(thread_id, graph, {
      input: { file, name: "run", ...input },
      streamMode: ["updates", "custom", "values"],
      config: { recursion_limit: 200 },
    });
    for await (const { id, event, data } of stream as AsyncIterable<{ id?: string; event: string; data: unknown }>)
      seen.push({ id: BigInt(id ?? -1), event, data });
  })();
  const of = (event: string) => seen.filter((e) => e.event === event).map((e) => e.data);
  return { thread_id, seen, of, ended };
}

/** No id twice, and each greater than those before. */
const growing = (seen: { id: bigint }[]) =>
  expect(seen.every(({ id }, i) => i === 0 || id > seen[i - 1]!.id)).toBe(true);

test("a killed worker's run goes on at once, without its finished sibling tasks, and its reader misses nothing", async () => {
  const first = await worker(3_600);
  const { thread_id, seen, of, ended } = await begin("parallel", { steps: 4 });
  await expect.poll(async () => (await done()).length, { timeout: 60_000 }).toBe(4);
  const written = "select from checkpoint_writes where channel = 'log'";
  await expect.poll(async () => (await database.pool.query(written)).rowCount).toBe(3);
  await worker(3_600);
  await first.kill("SIGKILL");
  await expect.poll(() => of("metadata").length, { timeout: 60_000 }).toBe(2); // the lease would have ended in an hour
  appendFileSync(`${file}.go`, "");
  await ended;

  expect((await done()).toSorted()).toEqual(["run 0", "run 1", "run 2", "run 3", "run 3"]);
  expect(of("metadata")).toMatchObject([{ attempt: 1 }, { attempt: 2 }]);
  growing(seen);
  const told = of("updates").map((data) => (data as { task: { log: number[] } }).task.log[0]);
  expect(new Set(told)).toEqual(new Set([0, 1, 2, 3]));
  expect((await server.client.threads.get(thread_id)).values).toMatchObject({ log: [0, 1, 2, 3] });
});

test("a reader across three deaths of workers misses the end of no step, and no id comes twice", async () => {
  const { seen, of, ended } = await begin("counted", { steps: 80, ms: 30 });
  for (const steps of [5, 15, 30]) {
    const next = await worker(3_600);
    await expect
      .poll(async () => (await done()).length, { interval: 7, timeout: 60_000 })
      .toBeGreaterThanOrEqual(steps);
    await next.kill("SIGKILL");
  }
  await worker(3_600);
  await ended;
  growing(seen);
  expect(of("metadata")).toMatchObject([{ attempt: 1 }, { attempt: 2 }, { attempt: 3 }, { attempt: 4 }]);
  const steps = Array.from({ length: 80 }, (_, i) => i);
  const told = of("updates").map((data) => (data as { step: { log: number[] } }).step.log[0]);
  expect([...new Set(told)]).toEqual(steps);
  expect(new Set(of("custom"))).toEqual(new Set(steps));
  const lengths = of("values").map((data) => (data as { log: unknown[] }).log.length);
  expect([...new Set(lengths)]).toEqual([...steps, 80]);
});

test.each([1, 4, 11, 23])(
  "a worker stopped past its lease after %i steps changes nothing when it goes on, says so and joins again",
  async (steps) => {
    const zombie = await worker(2);
    const { of, ended } = await begin("counted", { steps: 25, ms: 60 });
    await expect
      .poll(async () => (await done()).length, { interval: 10, timeout: 60_000 })
      .toBeGreaterThanOrEqual(steps);
    zombie.process.kill("SIGSTOP");
    await worker(2);
    await ended;
    expect(of("metadata")).toMatchObject([{ attempt: 1 }, { attempt: 2 }]);
    const before = await dump();
    zombie.process.kill("SIGCONT");
    await zombie.written(/worker lost its lease[^]*worker joined/);
    expect(await dump()).toEqual(before);
  },
);

test("a worker whose line to Postgres went dead loses its runs by lease, and works again on a new line", async () => {
  const proxy = rest.use(await silentProxy(database.connection));
  const cutOff = await worker(2, {
    connectionString: urlOf(proxy.connection).replace(
      /@.*\?host=.*/,
      `@127.0.0.1:${proxy.connection.port}/${proxy.connection.database}`,
    ),
  });
  const { of, ended } = await begin("counted", { steps: 25, ms: 60 });
  await expect.poll(async () => (await done()).length, { timeout: 60_000 }).toBeGreaterThanOrEqual(3);
  proxy.silence();
  const other = await worker(2);
  await ended;
  expect(of("metadata")).toMatchObject([{ attempt: 1 }, { attempt: 2 }]);
  const before = await dump();
  await cutOff.written(/worker lost its lease/);
  proxy.restore();
  await cutOff.written(/worker lost its lease[^]*worker joined/);
  expect(await dump()).toEqual(before);
  expect(await other.kill("SIGTERM")).toBe(0);
  const again = await begin("counted", { steps: 2, ms: 1 });
  await again.ended;
  expect(again.of("updates")).toHaveLength(2);
});

test("a worker that dies while one of three questions is answered answers none of the others", async () => {
  const first = await worker(3_600);
  const { thread_id, ended } = await begin("questions", {});
  await ended;
  const open = async () => {
    const { tasks } = await server.client.threads.getState(thread_id);
    return tasks.flatMap(({ interrupts }) => interrupts.map(({ id, value }) => `${id} ${String(value)}`)).toSorted();
  };
  const asked = await open();
  expect(asked).toHaveLength(3);
  const two = asked.find((question) => question.endsWith("two?"))!;
  const resume = { [two.split(" ")[0]!]: "yes" };
  const { run_id } = await server.client.runs.create(thread_id, "questions", { command: { resume } });
  await expect.poll(done, { timeout: 60_000 }).toEqual(["two yes"]);
  await worker(3_600);
  await first.kill("SIGKILL");
  await expect.poll(done, { timeout: 60_000 }).toEqual(["two yes", "two yes"]);
  appendFileSync(`${file}.go`, "");
  await server.client.runs.join(thread_id, run_id);
  expect(await open()).toEqual(asked.filter((question) => question !== two));
  expect((await server.client.threads.get(thread_id)).status).toBe("interrupted");
});
