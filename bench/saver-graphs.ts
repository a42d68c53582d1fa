/** Graphs whose nodes only say something, so that all time is the library's and the saver's. */
import { randomUUID } from "node:crypto";
import { AIMessage, HumanMessage } from "@langchain/core/messages";
import { Annotation, END, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";

const WORDS =
  "the agent looked at what was asked and found an answer in one of its tools which it gave with a reason".split(" ");

/** Text of so many characters that is no other's. */
export function text(length: number): string {
  let said = randomUUID();
  while (said.length < length) said += ` ${WORDS[Math.floor(Math.random() * WORDS.length)]}`;
  return said.slice(0, length);
}

export const human = (length: number) => new HumanMessage(text(length));
const answer = (length: number) => new AIMessage({ content: text(length), id: randomUUID() });

/** Characters of a message where steps are measured, and where turns are. */
const STEP_MESSAGE = 250;
export const TURN_MESSAGE = 1_024;

/** Adds `todo` messages, one a step. */
export const steps = new StateGraph(Annotation.Root({ ...MessagesAnnotation.spec, todo: Annotation<number> }))
  .addNode("step", ({ todo }) => ({ messages: [answer(STEP_MESSAGE)], todo: todo - 1 }))
  .addEdge(START, "step")
  .addConditionalEdges("step", ({ todo }) => (todo > 0 ? "step" : END), ["step", END])
  .compile();

/** Answers once. */
export const turn = new StateGraph(MessagesAnnotation)
  .addNode("answer", () => ({ messages: [answer(TURN_MESSAGE)] }))
  .addEdge(START, "answer")
  .addEdge("answer", END)
  .compile();

export const history = (length: number) => Array.from({ length }, () => human(STEP_MESSAGE));
