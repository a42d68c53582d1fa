#!/usr/bin/env node
/**
 * What Pawl adds to a run: latency, throughput, the first event of a stream and memory, beside the same graphs without
 * a server (the floor) and, if asked for, beside another server. Absolute figures are the machine's; the ratios count,
 * and for them everything is measured in turns: round by round, so that a noisy neighbour hits all alike.
 */
import { createLog } from "../lib/log.ts";
import { runToEnd, type StreamTimes, streamRun } from "./client.ts";
import { type Floor, openFloor } from "./floor.ts";
import { firstEventGoal, type Goal, GRAPHS, type GraphId, latencyGoal, memoryGoal, throughputGoals } from "./goals.ts";
import { ascending, joined, type Load, load, percentile, perSecond } from "./load.ts";
import { type Options, readOptions, USAGE } from "./options.ts";
import { fixed, goalTable, table } from "./report.ts";
import { type MeasuredServer, startMeasured } from "./server.ts";

/** Something that executes runs. */
interface Target {
  readonly name: "floor" | "pawl" | "peer";
  run(graph: GraphId): Promise<void>;
  /** Absent where nothing is streamed. */
  stream?(graph: GraphId): Promise<StreamTimes>;
}

/** In how many turns each figure is taken. */
const ROUNDS = 4;
const WARM_UP_RUNS = 60;
const STREAMS = 60;
/** Connections of a worker with the default concurrency; see server/runtime.ts. */
const CONNECTIONS = 8;

const say = (text: string): void => void process.stdout.write(`${text}\n`);

await main(readOrExit()).catch((error: unknown) => {
  say(error instanceof Error ? `${error.stack}` : String(error));
  process.exitCode = 1;
});

function readOrExit(): Options {
  try {
    return readOptions(process.argv.slice(2));
  } catch (error) {
    say(`${(error as Error).message}\n\n${USAGE}`);
    return process.exit(2);
  }
}

async function main(options: Options): Promise<void> {
  const log = createLog("warn");
  await using server = await startMeasured(log);
  await using floor = openFloor(server.connection, { connections: CONNECTIONS, log });
  const targets = targetsOf({ server, floor, options });
  for (const target of targets) await warmUp(target);
  const goals: Goal[] = [];
  for (const graph of GRAPHS) goals.push(...(await measureRuns(graph, targets, options)));
  goals.push(...(await measureStreams(targets, options)));
  goals.push(await measureMemory(server, options));
  say(`\n${goalTable(goals)}`);
}

interface TargetSources {
  readonly server: MeasuredServer;
  readonly floor: Floor;
  readonly options: Options;
}

function targetsOf({ server, floor, options }: TargetSources): Target[] {
  const { peer } = options;
  return [
    { name: "floor", run: (graph) => floor.run(graph) },
    { name: "pawl", run: (graph) => runToEnd(server.url, graph), stream: (graph) => streamRun(server.url, graph) },
    ...(peer
      ? [
          {
            name: "peer" as const,
            run: (graph: GraphId) => runToEnd(peer.url, peer.assistants[graph]),
            stream: (graph: GraphId) => streamRun(peer.url, peer.assistants[graph]),
          },
        ]
      : []),
  ];
}

/** Compilers and caches settle; plans of statements do so after five executions on each connection. */
async function warmUp(target: Target): Promise<void> {
  for (const graph of GRAPHS) {
    await load(() => target.run(graph), { concurrency: CONNECTIONS, seconds: 30, runs: WARM_UP_RUNS });
  }
}

async function measureRuns(graph: GraphId, targets: readonly Target[], options: Options): Promise<Goal[]> {
  const goals: Goal[] = [];
  const rows: string[][] = [];
  for (const concurrency of options.concurrencies) {
    const loads = await inTurns(targets, { graph, concurrency, options });
    const { floor, pawl } = loads;
    if (!floor || !pawl) throw new Error("The floor and the server were not measured");
    for (const [name, measured] of Object.entries(loads)) {
      rows.push([`${concurrency} ${name}`, ...figures(measured), ...ratios(measured, floor)]);
    }
    if (concurrency === 1) goals.push(latencyGoal(graph, floor, pawl));
    if (concurrency === Math.max(...options.concurrencies)) goals.push(...throughputGoals(graph, floor, pawl));
  }
  say(`\n${graph}: POST runs/wait, a fresh thread each; x = times the floor's`);
  say(table(["callers", "runs", "runs/s", "p50 ms", "p95 ms", "p99 ms", "x runs/s", "x p50"], rows));
  return goals;
}

interface Cell {
  readonly graph: GraphId;
  readonly concurrency: number;
  readonly options: Options;
}

async function inTurns(
  targets: readonly Target[],
  { graph, concurrency, options }: Cell,
): Promise<Partial<Record<Target["name"], Load>>> {
  const rounds = new Map<Target["name"], Load[]>(targets.map(({ name }) => [name, []]));
  const bounds = { concurrency, seconds: options.seconds / ROUNDS, runs: options.runs / ROUNDS };
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const target of targets) rounds.get(target.name)?.push(await load(() => target.run(graph), bounds));
  }
  return Object.fromEntries([...rounds].map(([name, loads]) => [name, joined(loads)]));
}

function figures(measured: Load): string[] {
  const { times } = measured;
  return [
    String(times.length),
    fixed(perSecond(measured)),
    ...[0.5, 0.95, 0.99].map((p) => fixed(percentile(times, p))),
  ];
}

function ratios(measured: Load, floor: Load): string[] {
  const rate = perSecond(measured) / perSecond(floor);
  const p50 = percentile(measured.times, 0.5) / percentile(floor.times, 0.5);
  return [rate.toFixed(2), p50.toFixed(2)];
}

async function measureStreams(targets: readonly Target[], { runs }: Options): Promise<Goal[]> {
  const goals: Goal[] = [];
  const rows: string[][] = [];
  for (const graph of GRAPHS) {
    const taken = new Map<Target, StreamTimes[]>();
    for (let i = 0; i < Math.min(STREAMS, runs); i += 1) {
      for (const target of targets) {
        const times = await target.stream?.(graph);
        if (times) taken.set(target, [...(taken.get(target) ?? []), times]);
      }
    }
    for (const [{ name }, times] of taken) {
      const first = ascending(times.map((t) => t.first));
      const tail = ascending(times.map((t) => t.tail));
      rows.push([
        `${graph} ${name}`,
        ...[first, tail].flatMap((values) => [fixed(percentile(values, 0.5)), fixed(percentile(values, 0.95))]),
      ]);
      if (name === "pawl") goals.push(firstEventGoal(graph, percentile(first, 0.5)));
    }
  }
  say("\nPOST runs/stream, one caller: ms to the first event, and from the last event to the end");
  say(table(["graph", "first p50", "p95", "end p50", "p95"], rows));
  return goals;
}

async function measureMemory(server: MeasuredServer, { memory }: Options): Promise<Goal> {
  const { from, to } = memory;
  const runs = (count: number) =>
    load(() => runToEnd(server.url, "two"), { concurrency: CONNECTIONS, seconds: Infinity, runs: count });
  await runs(from);
  const before = server.memory();
  await runs(to - from);
  const after = server.memory();
  say(`\nResident memory of the server: ${fixed(before)} MiB after ${from} runs, ${fixed(after)} MiB after ${to}`);
  return memoryGoal({ from, to, growth: after / before - 1 });
}
