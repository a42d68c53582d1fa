/** Asks one question, acts on the answer, asks two more at once, and ends. An answer's entry is `<plan>/<question>=<answer>`. */
import { interrupt, type LangGraphRunnableConfig, Send, StateGraph } from "@langchain/langgraph";
import { act, State, type StateOf, step } from "./state.ts";

interface Asking extends StateOf {
  readonly question: string;
}

function ask({ plan, question }: Pick<Asking, "plan" | "question">) {
  const answer = interrupt<{ plan: string; question: string }, unknown>({ plan, question });
  return { log: [`${plan}/${question}=${typeof answer === "string" ? answer : JSON.stringify(answer)}`] };
}

export const graph = new StateGraph(State)
  .addNode("begin", step("begin"))
  .addNode("first", (state: StateOf) => ask({ ...state, question: "first" }))
  .addNode("act", async (state: StateOf, config: LangGraphRunnableConfig) => ({
    log: [await act(state, { name: "approved", kind: "irreversible" }, config)],
  }))
  .addNode("ask", (asking: Asking) => ask(asking))
  .addNode("end", step("end"))
  .addEdge("__start__", "begin")
  .addEdge("begin", "first")
  .addEdge("first", "act")
  .addConditionalEdges("act", (state) => ["left", "right"].map((question) => new Send("ask", { ...state, question })), [
    "ask",
  ])
  .addEdge("ask", "end")
  .compile();
