/** Graphs whose nodes only say something, so that all time is the library's and the saver's. */
import { randomUUID } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { AIMessage, HumanMessage } from "@langchain/core/messages";
import { Annotation, END, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";

/** What people wrote: random words would compress to less than their language does. */
const PROSE = await prose(new URL("../docs/", import.meta.url));

async function prose(folder: URL): Promise<string> {
  const pages = (await readdir(folder)).filter((name) => name.endsWith(".md")).toSorted();
  return (await Promise.all(pages.map((name) => readFile(new URL(name, folder), "utf8")))).join(" ");
}

let passages = 0;

/** So many characters of the documentation from anywhere, behind a number, so that it is no other's text. */
function text(length: number): string {
  const from = Math.floor(Math.random() * (PROSE.length - length));
  passages += 1;
  return `${passages}. ${PROSE.slice(from, from + length)}`.slice(0, length);
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
