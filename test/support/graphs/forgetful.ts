/** Starts something that fails, and does not wait for it. */
import { Annotation, StateGraph } from "@langchain/langgraph";

export const graph = new StateGraph(Annotation.Root({ done: Annotation<number> }))
  .addNode("forget", () => {
    void Promise.reject(new Error("forgotten"));
    return { done: 1 };
  })
  .addEdge("__start__", "forget")
  .compile();
