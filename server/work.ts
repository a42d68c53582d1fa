/** The execution of runs in this process, without HTTP. */
import type { ConnectTo } from "../db/pool.ts";
import { config } from "../lib/config.ts";
import type { Log } from "../lib/log.ts";
import type { Running } from "./end-orderly.ts";
import { isolateRuns } from "./isolate.ts";
import { loadGraphs } from "./load-graphs.ts";
import type { Project } from "./project.ts";
import { openRuntime } from "./runtime.ts";
import { testSandboxes } from "./sandboxes.ts";

export interface WorkOptions {
  readonly project: Pick<Project, "graphs" | "threadRetention">;
  readonly connection: ConnectTo;
  readonly log: Log;
}

/** Throws as `openRuntime` does, and for a graph that cannot be loaded. */
export async function work({ project, connection, log }: WorkOptions): Promise<Running> {
  const runtime = await openRuntime({
    config: config(),
    log,
    connection,
    graphs: await loadGraphs(project.graphs),
    works: true,
    startIsolated: isolateRuns({ sources: project.graphs, connection, log }),
    threadRetention: project.threadRetention,
  });
  void testSandboxes(config().sandboxMin, log);
  return {
    onDatabaseChanged: (handler) => runtime.onDatabaseChanged(handler),
    async close(graceMs) {
      await runtime.drain(graceMs);
      await runtime.close();
    },
  };
}
