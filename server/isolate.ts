/** Starts processes for runs that are suspected of ending theirs. They inherit the environment, and write to the same log. */
import { type ChildProcess, fork } from "node:child_process";
import type { ConnectTo } from "../db/pool.ts";
import type { Log } from "../lib/log.ts";
import type { HeldRun } from "../runs/claim.ts";
import type { IsolatedEnd, StartIsolated } from "../runs/isolation.ts";
import type { GraphSource } from "./project.ts";

/** What the parent says, once. */
export interface IsolatedOrder {
  readonly connection: ConnectTo;
  readonly run: HeldRun;
  readonly source: GraphSource;
}

/** What the child says, once it has joined. */
export interface IsolatedReport {
  readonly workerId: string;
}

export interface IsolateOptions {
  readonly sources: readonly GraphSource[];
  readonly connection: ConnectTo;
  readonly log: Log;
}

/** The file of the child has the ending of this one: `.ts` from source, `.js` when compiled. */
const entry = new URL(`./isolated-run${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);

export function isolateRuns({ sources, connection, log }: IsolateOptions): StartIsolated {
  return ({ graph_id, ...run }) => {
    const source = sources.find(({ graphId }) => graphId === graph_id);
    if (!source) return { stop: () => {}, cut: () => {}, ended: Promise.resolve({ isOrderly: false }) };
    const child = fork(entry, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    child.send({ connection, run, source } satisfies IsolatedOrder, () => {}); // its end says that it did not arrive
    return {
      stop: () => void child.kill("SIGTERM"),
      cut: () => child.connected && child.disconnect(),
      ended: endOf(child, log.child({ run_id: run.run_id })),
    };
  };
}

async function endOf(child: ChildProcess, log: Log): Promise<IsolatedEnd> {
  let workerId: string | undefined;
  child.on("message", (message) => ({ workerId } = message as IsolatedReport));
  const isOrderly = await new Promise<boolean>((resolve) => {
    child.on("error", (error) => {
      log.error({ error }, "the process of a suspect could not be started");
      resolve(false);
    });
    child.on("exit", (code, signal) => {
      log.info({ code, signal }, "the process of a suspect ended");
      resolve(code === 0);
    });
  });
  return { isOrderly, ...(workerId !== undefined && { workerId }) };
}
