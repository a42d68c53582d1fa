/** Computes without a pause until the file `go` is there. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Annotation, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({ folder: Annotation<string> });

export const graph = new StateGraph(State)
  .addNode("compute", ({ folder }) => {
    writeFileSync(join(folder, "entered"), "");
    while (!existsSync(join(folder, "go")));
    return {};
  })
  .addEdge("__start__", "compute")
  .compile();
