/** Adds one in each of `steps` steps, which take `ms` each: time enough for a test to do something to the server. */
import { setTimeout as delay } from "node:timers/promises";
import { Annotation, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({
  done: Annotation<number>({ reducer: (a, b) => a + b, default: () => 0 }),
  steps: Annotation<number>,
  ms: Annotation<number>,
});

export const graph = new StateGraph(State)
  .addNode("step", async ({ ms }, { signal }) => {
    await delay(ms, undefined, signal ? { signal } : {});
    return { done: 1 };
  })
  .addEdge("__start__", "step")
  .addConditionalEdges("step", ({ done, steps }) => (done < steps ? "step" : "__end__"))
  .compile();
