/** Computes for `ms` without a pause. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Annotation, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({ folder: Annotation<string>, ms: Annotation<number> });

export const graph = new StateGraph(State)
  .addNode("compute", ({ folder, ms }) => {
    writeFileSync(join(folder, "entered"), "");
    for (const end = Date.now() + ms; Date.now() < end;);
    return {};
  })
  .addEdge("__start__", "compute")
  .compile();
