/** A graph whose edge ends its process, once: as long as the file is there, which it takes away first. */
import { rmSync } from "node:fs";
import { Annotation, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({
  file: Annotation<string>,
  log: Annotation<string[]>({ reducer: (all, more) => [...all, ...more], default: () => [] }),
});

export const graph = new StateGraph(State)
  .addNode("step", () => ({ log: ["step"] }))
  .addEdge("__start__", "step")
  .addConditionalEdges("step", ({ file, log }) => {
    if (log.length < 2) return "step";
    try {
      rmSync(file);
    } catch {
      return "__end__";
    }
    process.kill(process.pid, "SIGKILL");
    return "__end__";
  })
  .compile();
