/** Effects of both kinds, two of them in one step. */
import { type LangGraphRunnableConfig, StateGraph } from "@langchain/langgraph";
import { act, type EffectOf, State, type StateOf, step } from "./state.ts";

const effects =
  (...all: EffectOf[]) =>
  async (state: StateOf, config: LangGraphRunnableConfig) => {
    const log: string[] = [];
    for (const effect of all) log.push(await act(state, effect, config));
    return { log };
  };

export const graph = new StateGraph(State)
  .addNode("begin", step("begin"))
  .addNode("two", effects({ name: "letter", kind: "irreversible" }, { name: "record", kind: "idempotent" }))
  .addNode("one", effects({ name: "payment", kind: "irreversible" }))
  .addNode("end", step("end"))
  .addEdge("__start__", "begin")
  .addEdge("begin", "two")
  .addEdge("two", "one")
  .addEdge("one", "end")
  .compile();
