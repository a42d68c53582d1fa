/** Two calls at once of a tool that may not be repeated, by the same node that agents have: what nobody knows, a person is asked. */
import { type LangGraphRunnableConfig, Send, StateGraph } from "@langchain/langgraph";
import { z } from "zod";
import { executeToolCall } from "../../../../nodes/execute-tool.ts";
import { defineTool } from "../../../../tools/index.ts";
import { postTo, State, type StateOf, step } from "./state.ts";

interface Call extends StateOf {
  readonly nth: number;
}

const letter = defineTool({
  name: "send_letter",
  description: "Sends a letter.",
  input: z.strictObject({ side: z.string(), name: z.string() }),
  effect: "irreversible",
  // A call is believed not to have happened two seconds after it: soon enough for whoever waits for that.
  timeoutMs: 1_500,
  run: ({ side, name }, { deadline, ...send }) => postTo(side, { name, kind: "irreversible", deadline }, send),
});

const answerTo = executeToolCall([letter]);

async function call({ plan, side, nth }: Call, config: LangGraphRunnableConfig) {
  const id = `${plan}/call-${nth}`;
  const { messages } = await answerTo(
    { call: { id, name: letter.name, args: { side, name: id } }, isRepeated: false },
    config,
  );
  const { status, code } = JSON.parse(messages[0]?.text ?? "{}") as { status?: string; code?: string };
  return { log: [`${id}:${status === "ok" ? "done" : code === "EFFECT_UNKNOWN" ? "left" : String(code)}`] };
}

export const graph = new StateGraph(State)
  .addNode("begin", step("begin"))
  .addNode("call", call)
  .addNode("end", step("end"))
  .addEdge("__start__", "begin")
  .addConditionalEdges("begin", (state) => [0, 1].map((nth) => new Send("call", { ...state, nth })), ["call"])
  .addEdge("call", "end")
  .compile();
