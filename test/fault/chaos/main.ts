#!/usr/bin/env node
/** `npm run chaos`: real processes, a real Postgres and the stock client, while everything that can fail does. */
import { availableParallelism, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { chaos, type ChaosOptions, type Outcome } from "./chaos.ts";
import { FAULTS } from "./faults.ts";
import { counts, invariants, timeGoals, render } from "./report.ts";

const USAGE = `Usage: npm run chaos -- [options]

  --runs <n>       plans to carry out at least, each of one run or more  (200)
  --minutes <n>    for how long at least                                 (0)
  --seed <text>    repeats what is tried                                 (drawn)
  --only <fault>   this kind of fault only; may be given several times
  --logs <folder>  keeps what the processes write there
`;

const say = (text: string): void => void process.stdout.write(`${text}\n`);

const options = readOrExit();
say(`seed ${options.seed}`);
try {
  const outcome = await chaos(options);
  process.exitCode = report(outcome) ? 0 : 1;
  if (process.exitCode === 1)
    say(`\nTo try the same again: npm run chaos -- --runs ${options.runs} --seed ${options.seed}`);
} catch (error) {
  say(error instanceof Error ? `${error.stack}` : String(error));
  process.exitCode = 1;
}

function report(outcome: Outcome): boolean {
  const rows = [...counts(outcome), ...invariants(outcome), ...timeGoals(outcome)];
  say(
    `\nload average ${loadavg()
      .map((load) => load.toFixed(1))
      .join(", ")} on ${availableParallelism()} cores`,
  );
  say(render(rows));
  for (const [message, times] of outcome.errors) say(`logged as an error, ${times} times: ${message}`);
  return rows.every(({ isMet }) => isMet);
}

function readOrExit(): ChaosOptions {
  try {
    const { values } = parseArgs({
      options: {
        runs: { type: "string", default: "200" },
        minutes: { type: "string", default: "0" },
        seed: { type: "string", default: String(Date.now() % 1_000_000) },
        only: { type: "string", multiple: true, default: [] },
        logs: { type: "string" },
      },
    });
    const [runs, minutes] = [Number(values.runs), Number(values.minutes)];
    if (!(runs >= 1 && minutes >= 0)) throw new TypeError("--runs and --minutes want numbers");
    const unknown = values.only.filter((name) => !(name in FAULTS));
    if (unknown.length > 0)
      throw new TypeError(`No fault: ${unknown.join(", ")}\nThere are: ${Object.keys(FAULTS).join(", ")}`);
    return {
      runs,
      minutes,
      only: values.only,
      seed: values.seed,
      say,
      ...(values.logs !== undefined && { logs: values.logs }),
    };
  } catch (error) {
    say(`${(error as Error).message}\n\n${USAGE}`);
    return process.exit(2);
  }
}
