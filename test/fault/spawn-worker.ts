/** Starts worker processes that a test may kill. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import type { ConnectTo } from "../../db/pool.ts";

export interface ChildOptions {
  readonly connection: ConnectTo;
  readonly leaseSeconds: number;
  readonly notes: string;
  readonly gate: string;
  readonly blockMs: number;
}

interface WorkerProcess extends AsyncDisposable {
  readonly child: ChildProcess;
  kill(signal: NodeJS.Signals): void;
}

export async function spawnWorker(options: ChildOptions): Promise<WorkerProcess> {
  const child = fork(new URL("./worker-child.ts", import.meta.url), [JSON.stringify(options)], {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => (output += String(chunk)));
  const exited = once(child, "exit");
  await Promise.race([
    once(child, "message"),
    exited.then(() => {
      throw new Error(`The worker ended before it joined:\n${output}`);
    }),
  ]);
  return {
    child,
    kill: (signal) => void child.kill(signal),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}
