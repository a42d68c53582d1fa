/** Graphs for processes that get killed. Each says where it is through files, so that a test can wait for a moment. */
import { appendFileSync, existsSync, watch } from "node:fs";
import { dirname } from "node:path";
import { StateGraph } from "@langchain/langgraph";
import { Log } from "../support/runs.ts";

/** `first` ends at once; `second` notes that it was entered and waits until the gate file exists. */
export function gated(notes: string, gate: string) {
  return new StateGraph(Log)
    .addNode("first", () => {
      appendFileSync(notes, "first\n");
      return { log: ["first"] };
    })
    .addNode("second", async () => {
      appendFileSync(notes, "second\n");
      await fileExists(gate);
      return { log: ["second"] };
    })
    .addEdge("__start__", "first")
    .addEdge("first", "second")
    .compile();
}

/** Blocks the main loop for `ms`. */
export function blocking(notes: string, ms: number) {
  return new StateGraph(Log)
    .addNode("block", () => {
      appendFileSync(notes, "block\n");
      for (const end = Date.now() + ms; Date.now() < end;);
      return { log: ["blocked"] };
    })
    .addEdge("__start__", "block")
    .compile();
}

/** Resolves once `path` exists. */
export async function fileExists(path: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const watcher = watch(dirname(path), () => existsSync(path) && resolve());
  if (existsSync(path)) resolve();
  await promise;
  watcher.close();
}
