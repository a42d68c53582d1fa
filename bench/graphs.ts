/** The graphs that are measured. Their nodes do nothing, so all time is the runtime's. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({
  text: Annotation<string>,
  count: Annotation<number>({ reducer: (sum, one) => sum + one, default: () => 0 }),
});

const step = () => ({ count: 1 });

/** Two nodes, one after the other. */
export const two = new StateGraph(State)
  .addNode("first", step)
  .addNode("second", step)
  .addEdge(START, "first")
  .addEdge("first", "second")
  .addEdge("second", END)
  .compile();

const STEPS = 10;

/** One node, ten times. */
export const ten = new StateGraph(State)
  .addNode("step", step)
  .addEdge(START, "step")
  .addConditionalEdges("step", ({ count }) => (count < STEPS ? "step" : END), ["step", END])
  .compile();
