/** Four tools at once, each with an effect, and a step that waits for all of them. */
import { type LangGraphRunnableConfig, Send, StateGraph } from "@langchain/langgraph";
import { act, pause, State, type StateOf, step } from "./state.ts";

interface Call extends StateOf {
  readonly nth: number;
}

const kindOf = (nth: number) => (nth % 2 === 0 ? "irreversible" : "idempotent");

export const graph = new StateGraph(State)
  .addNode("split", step("split"))
  .addNode("tool", async (call: Call, config: LangGraphRunnableConfig) => {
    await pause(call.ms * call.nth, config); // so that some are done when the process dies
    return { log: [await act(call, { name: `tool-${call.nth}`, kind: kindOf(call.nth) }, config)] };
  })
  .addNode("join", step("join"))
  .addEdge("__start__", "split")
  .addConditionalEdges("split", (state) => [0, 1, 2, 3].map((nth) => new Send("tool", { ...state, nth })), ["tool"])
  .addEdge("tool", "join")
  .compile();
