/** Waits for an answer in one node; another build of it in a node of another name. */
import { Annotation, interrupt, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({ answer: Annotation<string> });

const ask = () => ({ answer: interrupt<string, string>("sure?") });

export const graph = new StateGraph(State).addNode("ask", ask).addEdge("__start__", "ask").compile();

export const renamed = new StateGraph(State).addNode("inquire", ask).addEdge("__start__", "inquire").compile();
