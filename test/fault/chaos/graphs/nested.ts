/** A subgraph of three steps, one with an effect, between two steps of its parent. */
import { Annotation, type LangGraphRunnableConfig, StateGraph } from "@langchain/langgraph";
import { act, State, step } from "./state.ts";

const Inner = Annotation.Root({
  plan: Annotation<string>,
  ms: Annotation<number>,
  side: Annotation<string>,
  /** The entries of the subgraph; its parent takes them over as they are. */
  trail: Annotation<string[]>({ reducer: (all, more) => [...all, ...more], default: () => [] }),
});

const Outer = Annotation.Root({ ...State.spec, trail: Annotation<string[]> });

const inside = (name: string) => async (state: typeof Inner.State, config: LangGraphRunnableConfig) => ({
  trail: (await step(name)({ ...state, log: [] }, config)).log,
});

const inner = new StateGraph(Inner)
  .addNode("first", inside("inner-first"))
  .addNode("effect", async (state: typeof Inner.State, config: LangGraphRunnableConfig) => ({
    trail: [await act(state, { name: "inner-effect", kind: "irreversible" }, config)],
  }))
  .addNode("last", inside("inner-last"))
  .addEdge("__start__", "first")
  .addEdge("first", "effect")
  .addEdge("effect", "last")
  .compile();

export const graph = new StateGraph(Outer)
  .addNode("before", async (state, config) => ({ ...(await step("before")(state, config)), trail: [] }))
  .addNode("inner", inner)
  .addNode("after", async (state, config) => ({
    log: [...state.trail, ...(await step("after")(state, config)).log],
  }))
  .addEdge("__start__", "before")
  .addEdge("before", "inner")
  .addEdge("inner", "after")
  .compile();
