/** Six steps, one after the other, without effects. */
import { StateGraph } from "@langchain/langgraph";
import { State, step } from "./state.ts";

export const graph = new StateGraph(State)
  .addSequence([
    ["one", step("one")],
    ["two", step("two")],
    ["three", step("three")],
    ["four", step("four")],
    ["five", step("five")],
    ["six", step("six")],
  ])
  .addEdge("__start__", "one")
  .compile();
