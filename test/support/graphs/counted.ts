/** Steps that leave a line each in a file, so that a test can count what was done, and how often. */
import { appendFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { Annotation, getWriter, Send, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({
  file: Annotation<string>,
  name: Annotation<string>,
  steps: Annotation<number>,
  /** Milliseconds that a step takes. */
  ms: Annotation<number>,
  log: Annotation<number[]>({ reducer: (all, more) => [...all, ...more], default: () => [] }),
});

export const graph = new StateGraph(State)
  .addNode("step", async ({ file, name, ms, log }, config) => {
    getWriter(config)?.(log.length);
    await delay(ms);
    appendFileSync(file, `${name} ${log.length}\n`);
    return { log: [log.length] };
  })
  .addEdge("__start__", "step")
  .addConditionalEdges("step", ({ log, steps }) => (log.length < steps ? "step" : "__end__"))
  .compile();

/** One step of `steps` tasks, the last of which waits for as long as the file is not twice as long as they are many. */
export const parallel = new StateGraph(State)
  .addNode("task", async ({ file, name, steps, ms, log: [task = 0] }) => {
    appendFileSync(file, `${name} ${task}\n`);
    if (task === steps - 1) await delay(ms);
    return { log: [task] };
  })
  .addConditionalEdges("__start__", (state) =>
    Array.from({ length: state.steps }, (_, task) => new Send("task", { ...state, log: [task] })),
  )
  .compile();
