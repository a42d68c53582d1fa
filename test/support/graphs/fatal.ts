/** A graph whose node may end its process, in the way that its input says, once the file `go` is there. */
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { Annotation, StateGraph } from "@langchain/langgraph";
import { fileExists } from "../../fault/graphs.ts";

const State = Annotation.Root({
  /** Where nodes say that they were entered, and look for the file `go`. */
  folder: Annotation<string>,
  name: Annotation<string>,
  /** Absent for a node that harms nobody: it waits for the file `done`. */
  death: Annotation<"exit" | "segfault" | "memory" | undefined>,
  log: Annotation<string[]>({ reducer: (all, more) => [...all, ...more], default: () => [] }),
});

const deaths = {
  exit: () => process.exit(7),
  segfault: () => process.kill(process.pid, "SIGSEGV"),
  memory: () => {
    for (const hoard: unknown[] = []; ;) hoard.push(Array.from({ length: 1_000 }, () => ({})));
  },
};

export const graph = new StateGraph(State)
  .addNode("work", async ({ folder, name, death }) => {
    appendFileSync(join(folder, "entered"), `${name}\n`);
    await fileExists(join(folder, death ? "go" : "done"));
    if (death) deaths[death]();
    return { log: [name] };
  })
  .addEdge("__start__", "work")
  .compile();
