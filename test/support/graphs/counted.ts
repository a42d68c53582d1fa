/** Steps that leave a line each in a file, so that a test can count what was done, and how often. */
import { appendFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { Annotation, getWriter, interrupt, Send, StateGraph } from "@langchain/langgraph";
import { fileExists } from "../../fault/graphs.ts";

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

/** One step of `steps` tasks, the last of which waits for the file `<file>.go`. */
export const parallel = new StateGraph(State)
  .addNode("task", async ({ file, name, steps, log: [task = 0] }) => {
    appendFileSync(file, `${name} ${task}\n`);
    if (task === steps - 1) await fileExists(`${file}.go`);
    return { log: [task] };
  })
  .addConditionalEdges("__start__", (state) =>
    Array.from({ length: state.steps }, (_, task) => new Send("task", { ...state, log: [task] })),
  )
  .compile();

/** Three questions at once. Whoever got an answer says so and waits for the file `<file>.go`. */
const question = (name: string) => async (state: typeof State.State) => {
  const answer = interrupt<string, string>(`${name}?`);
  appendFileSync(state.file, `${name} ${answer}\n`);
  await fileExists(`${state.file}.go`);
  return { answers: [`${name} ${answer}`] };
};
export const questions = new StateGraph(
  Annotation.Root({
    ...State.spec,
    answers: Annotation<string[]>({ reducer: (all, more) => [...all, ...more], default: () => [] }),
  }),
)
  .addNode("one", question("one"))
  .addNode("two", question("two"))
  .addNode("three", question("three"))
  .addEdge("__start__", "one")
  .addEdge("__start__", "two")
  .addEdge("__start__", "three")
  .compile();
